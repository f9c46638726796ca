import numpy as np
import pytest

from mshare_bench.calibration.probes import PROBES, cache_sizes, summary
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from tests.requirements import require


def test_probes_measure_costs_that_there_are_each_once():
    names = [name for probe in PROBES for name in probe.costs]
    assert len(names) == len(set(names))
    assert set(names) <= set(UNIT_COSTS)


def test_a_summary_holds_its_value():
    value, low, high = summary(np.array([[1.0, 2.0, 100.0], [2.0, 3.0, 4.0]]))
    assert low <= value <= high
    assert value < 3


def test_caches_grow_with_their_level():
    sizes = [size for _, size in sorted(cache_sizes().items())]
    assert sizes == sorted(sizes)


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["timer", "context_switch", "futex_wake", "lock_transfer"])
def test_quick_probes_give_batches_of_positive_samples(name):
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))
    probe = next(one for one in PROBES if name in one.costs)
    try:
        found = probe.run()
    except CapabilityError as error:
        require("kernel", False, str(error))
    assert set(found) == set(probe.costs)
    for samples in found.values():
        assert samples.ndim == 2
        assert len(samples) >= 3
        assert (samples > 0).all()
