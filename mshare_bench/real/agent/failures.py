"""What is said when an agent dies, a step fails or a wait is over: one line, naming who and what."""

__all__ = ["died", "errno_text", "signal_name", "step_failed", "zygote_gone"]

import errno
import os
import signal

from mshare_bench.errors import CapabilityError, CellFailed, MshareBenchError, PlacementError
from mshare_bench.real.agent.protocol import Step


def signal_name(number: int) -> str:
    """Name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def errno_text(code: int) -> str:
    """Name and meaning of an errno."""
    return f"{errno.errorcode.get(code, code)} ({os.strerror(code)})"


def _ending(code: int) -> str:
    return f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code}"


def died(agent: int, agents: int, pid: int, status: int, activity: str) -> CellFailed:
    """An agent ended before it was told to; `status` is that of wait(2), `activity` the last command."""
    who = f"agent {agent} of {agents} (pid {pid})" if agent >= 0 else f"an agent (pid {pid})"
    return CellFailed(f"{who} {_ending(os.waitstatus_to_exitcode(status))}; the last command was {activity!r}")


def zygote_gone(code: int | None, activity: str) -> CellFailed:
    """The zygote ended, with it all agents; `code` as of `subprocess.Popen.returncode`, None if it only hung up."""
    how = "hung up" if code is None else _ending(code)
    return CellFailed(f"the zygote {how}; the last command was {activity!r}")


def step_failed(step: int, code: int, agent: str, binding: int, cgroup: str) -> MshareBenchError:
    """A step of the start or the launch that the kernel refused with errno `code`."""
    reason = errno_text(code)
    match step:
        case Step.CGROUP:
            return CapabilityError(f"cgroup: the agents can't join {cgroup}: {reason}")
        case Step.NICE | Step.OOM_SCORE:
            what = "nice" if step == Step.NICE else "oom_score_adj"
            return CapabilityError(f"{what}: can't be set for the agents: {reason}")
        case Step.AFFINITY | Step.MEMPOLICY:
            what = "the CPUs" if step == Step.AFFINITY else "the memory policy"
            return PlacementError(f"binding {binding} ({agent}): {what} can't be had: {reason}")
        case Step.CLONE:
            hint = "; see pid_max, RLIMIT_NPROC and the cgroup's pids.max" if code == errno.EAGAIN else ""
            return CellFailed(f"launch stopped at {agent}: {reason}{hint}")
        case _:
            return CellFailed(f"the zygote failed at {Step(step).name.lower()}: {reason}")
