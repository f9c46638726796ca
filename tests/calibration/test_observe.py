import numpy as np
import pytest

from mshare_bench.calibration.observe import AGAIN, QUANTILE, Observed, figure, observe
from mshare_bench.domain.units import MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from tests.requirements import require
from tests.sim.points import point


def test_a_figure_sums_pieces_and_passes_over_what_was_interrupted():
    rows = np.full((5, 4, 3), 100)
    rows[:, :, 1] = 50
    rows[0, 0] = 1_000_000
    assert figure(rows) == 250
    assert 0 < QUANTILE < 0.5


def test_rounds_are_joined():
    one = Observed({"read": np.ones((2, 3, 1), np.int64)}, True)
    both = one.joined(Observed({"read": np.ones((4, 3, 1), np.int64)}, False))
    assert both.samples["read"].shape == (6, 3, 1)
    assert not both.preferred


@pytest.fixture
def _agent():
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))


@pytest.mark.kernel
@pytest.mark.usefixtures("_agent")
def test_every_phase_of_a_point_is_timed_in_pieces():
    found = observe(point("shmem", 3, 4 * MIB, write_fraction=0.5), 2).samples
    assert {name: rows.shape for name, rows in found.items()} == {
        "attach": (1, 3, 1),
        "write": (2, 3, 1),
        "read": (2, 3, 1),
        AGAIN: (2, 3, 2),
        "fork": (2, 3, 1),
        "protect": (2, 3, 1),
        "unmap": (2, 3, 1),
        "exit": (1, 3, 1),
    }
    assert all((rows > 0).all() for rows in found.values())
    assert figure(found[AGAIN]) < figure(found["write"])


@pytest.mark.kernel
@pytest.mark.usefixtures("_agent")
def test_what_is_inherited_is_timed_once_and_forked_from_the_parent():
    found = observe(point("inherit", 3, 2 * MIB, write_fraction=1.0), 5, skip_first=False).samples
    assert found["write"].shape == (1, 2, 1)
    assert found["fork"].shape == (1, 2, 1)
    assert "attach" not in found


@pytest.mark.kernel
@pytest.mark.usefixtures("_agent")
def test_no_rounds_are_a_single_one_that_counts():
    found = observe(point("shmem", 3, 4 * MIB), 0).samples
    assert {found[phase].shape[0] for phase in ("attach", "read", "fork", "protect", "unmap", "exit")} == {1}
