import errno
import signal

import pytest

from mshare_bench.errors import CapabilityError, CellFailed, MshareBenchError, PlacementError
from mshare_bench.real.agent import failures
from mshare_bench.real.agent.protocol import Step

KINDS = {
    Step.CGROUP: CapabilityError,
    Step.NICE: CapabilityError,
    Step.OOM_SCORE: CapabilityError,
    Step.AFFINITY: PlacementError,
    Step.MEMPOLICY: PlacementError,
}


@pytest.mark.parametrize("step", list(Step))
def test_every_step_has_its_error_in_one_line_with_the_errno(step: Step) -> None:
    error = failures.step_failed(step, errno.EPERM, "agent 3 of 9", 1, "/cg/tasks")
    assert type(error) is KINDS.get(step, CellFailed)
    assert isinstance(error, MshareBenchError)
    assert "EPERM" in str(error)
    assert "\n" not in str(error)


def test_a_launch_that_runs_out_of_processes_says_where_to_look() -> None:
    assert "pids.max" in str(failures.step_failed(Step.CLONE, errno.EAGAIN, "agent 3 of 9", -1, ""))
    assert "pids.max" not in str(failures.step_failed(Step.CLONE, errno.ENOMEM, "agent 3 of 9", -1, ""))


def test_endings_are_named() -> None:
    assert "killed by SIGKILL" in str(failures.died(3, 9, 77, signal.SIGKILL, "touch"))
    assert "exited with code 2" in str(failures.died(3, 9, 77, 2 << 8, "touch"))
    assert "an agent (pid 77)" in str(failures.died(-1, 9, 77, 0, "touch"))
    assert "hung up" in str(failures.zygote_gone(None, "touch"))
    assert failures.signal_name(250) == "signal 250"
