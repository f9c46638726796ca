import pytest

from mshare_bench.real.knobs import KSM_PAGES_TO_SCAN, KSM_RUN, KSM_SLEEP_MILLISECS, knobs_set
from tests.requirements import require


@pytest.mark.kernel
def test_set_and_back():
    for knob in (KSM_RUN, KSM_PAGES_TO_SCAN, KSM_SLEEP_MILLISECS):
        require("kernel", knob.available() is None, str(knob.available()))
    # Never run=1 here: it would take CPU time from whatever else is on this machine.
    before = [knob.read() for knob in (KSM_PAGES_TO_SCAN, KSM_SLEEP_MILLISECS)]
    wanted = [str(int(value) + 1) for value in before]
    with knobs_set({KSM_PAGES_TO_SCAN: wanted[0], KSM_SLEEP_MILLISECS: wanted[1]}):
        assert [KSM_PAGES_TO_SCAN.path.read_text().strip(), KSM_SLEEP_MILLISECS.path.read_text().strip()] == wanted
    assert [knob.read() for knob in (KSM_PAGES_TO_SCAN, KSM_SLEEP_MILLISECS)] == before
