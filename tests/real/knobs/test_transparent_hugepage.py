import pytest

from mshare_bench.real.knobs import TRANSPARENT_HUGEPAGE, knobs_set
from tests.requirements import require


@pytest.mark.kernel
def test_set_and_back():
    require("kernel", TRANSPARENT_HUGEPAGE.available() is None, str(TRANSPARENT_HUGEPAGE.available()))
    before = TRANSPARENT_HUGEPAGE.read()
    other = "madvise" if before != "madvise" else "never"
    with knobs_set({TRANSPARENT_HUGEPAGE: other}):
        assert f"[{other}]" in TRANSPARENT_HUGEPAGE.path.read_text()
    assert TRANSPARENT_HUGEPAGE.read() == before
