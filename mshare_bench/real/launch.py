"""Starts a group of real processes and runs them phase by phase.

A `ProcessTree` is one zygote and its agents (``agent/``). Every agent runs one of a few *programs*: for each phase, a
list of ops. The controller starts a phase for all agents or for a range of them and gets times and faults back::

    from mshare_bench.real.agent import Map, Touch
    from mshare_bench.real.launch import ProcessTree

    program = {
        "attach": [Map(address=REGIONS_START, length=1 << 30, fd=memfd)],
        "touch": [Touch(address=REGIONS_START, count=512, stride=2 << 20)],
    }
    with ProcessTree([program], agents=1000, fds=[memfd]) as tree:
        tree.launch()                     # fork; each agent bound, settled and idle
        tree.run("attach")
        first = tree.run("touch", 0, 1, parallel=1)  # agent 0 alone: exact first touch
        rest = tree.run("touch", 1)
        tree.check()                      # after the counters were read: is everyone still alive?
        exits = tree.exit()
        rest["duration_ns"], rest["minor_faults"]    # numpy, one entry per agent of the range

What an agent needs for its own life it has touched before `ProcessTree.launch` returns: from then on ``VmPTE`` and
``ru_minflt`` move only by what its ops do. Within a phase, at most ``parallel`` agents run at a time; each hands its
turn on to the next, so the controller wakes once.

Whatever happens, nothing stays behind: agents die with the zygote, the zygote with the controller. An agent that dies
before it was told to is named in the `CellFailed` that the next call raises; every wait has a timeout.
"""

__all__ = ["Binding", "PhaseResults", "ProcessTree", "Spawn"]

import errno
import mmap
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError, MshareBenchError, PlacementError
from mshare_bench.real.agent import protocol as p
from mshare_bench.real.agent.image import Binding, ControlImage, encode
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.agent.ops import Op, Program
from mshare_bench.real.agent.protocol import MessageKind, Spawn, Step

PhaseResults: TypeAlias = NDArray[np.void]
"""Structured array, one entry per agent, with the int64 fields of ``protocol.PHASE_RESULT``:
``start_ns`` (CLOCK_MONOTONIC) ``duration_ns`` ``minor_faults`` ``major_faults`` ``error`` (errno of the unguarded op
that ended the phase) ``failed_op`` (its place, or -1) ``signal`` ``sequence`` (0: never run)."""

_PREFORK = "prefork"
_TICK_SECONDS = 1.0


class ProcessTree:
    """One zygote and its agents; a context manager that leaves no process behind.

    Parameters
    ----------
    programs
        Distinct programs: mappings of phase names to ops.
    agents
        Number of agents, at least 1.
    assignment
        Program of each agent (shape ``(agents,)``); None: all run the first.
    fds
        File descriptors that the ops use; agents have them under the same numbers.
    spawn
        `Spawn.FORK`: an address space each. `Spawn.CLONE_VM`: processes on one address space. `Spawn.THREAD`: threads
        of one process. In the latter two, a mapping made by one is there for all.
    parallel
        How many agents run at a time; None: as many as this process may use CPUs.
    bindings, binding
        Distinct bindings, and the one of each agent (-1: none).
    prefork
        Ops run in the zygote by `run_prefork`, before agents are forked: what it maps, they inherit.
    cgroup
        Path of a ``cgroup.procs`` or ``tasks`` file that the zygote joins before anything else.
    nice, oom_score_adj
        Set in the zygote, inherited by the agents; None leaves them alone.
    timeout
        Seconds that any one command may take.

    Raises
    ------
    ConfigError
        If a program, the assignment or a binding is wrong.
    CapabilityError
        If the agent can't be had or started here, or the cgroup or a limit can't be set.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        agents: int,
        assignment: ArrayLike | None = None,
        *,
        fds: Sequence[int] = (),
        spawn: Spawn = Spawn.FORK,
        parallel: int | None = None,
        bindings: Sequence[Binding] = (),
        binding: ArrayLike | None = None,
        prefork: Sequence[Op] = (),
        cgroup: str | os.PathLike[str] | None = None,
        nice: int | None = None,
        oom_score_adj: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        if agents < 1:
            raise ConfigError(f"agents: {agents} is not a positive number")
        self.agents = agents
        self.parallel = parallel if parallel is not None else len(os.sched_getaffinity(0))
        self.timeout = timeout
        self._spawn = spawn
        everything: list[Program] = [*programs, {_PREFORK: prefork}] if prefork else list(programs)
        image = encode(everything, bindings, agents)
        self._layout = image.layout
        self._closed = False
        self._activity = "start"
        self._sequence_seen = 0
        try:
            self._open_control(image, fds, cgroup, nice, oom_score_adj)
            heads = self._records["head"]
            heads["index"] = np.arange(agents + 1)
            heads["program"][:agents] = _indices("assignment", assignment, agents, 0, len(programs))
            heads["program"][agents] = len(everything) - 1
            heads["placement"][:agents] = _indices("binding", binding, agents, -1, len(bindings))
            heads["placement"][agents] = -1
            self._start(fds)
        except BaseException:
            self.close()
            raise

    # -- life ----------------------------------------------------------------------------------------------------

    def _open_control(
        self,
        image: ControlImage,
        fds: Sequence[int],
        cgroup: str | os.PathLike[str] | None,
        nice: int | None,
        oom_score_adj: int | None,
    ) -> None:
        self._event = -1
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control = os.memfd_create("mshare-control")
        os.ftruncate(self._control, image.total_bytes)
        memory = mmap.mmap(self._control, image.total_bytes)
        memory[: len(image.prefix)] = image.prefix
        self._header = np.frombuffer(memory, dtype=p.HEADER, count=1)[0:1]
        self._records = np.frombuffer(
            memory, dtype=image.layout.record, count=self.agents + 1, offset=image.records_offset
        )
        path = os.fsencode(cgroup) if cgroup is not None else b""
        if len(path) >= p.PATH_BYTES:
            raise ConfigError(f"cgroup: the path is longer than {p.PATH_BYTES - 1} bytes")
        self._header["spawn"] = self._spawn
        self._header["cgroup_path"] = path
        self._header["set_nice"] = nice is not None
        self._header["nice"] = nice or 0
        self._header["set_oom_score"] = oom_score_adj is not None
        self._header["oom_score"] = oom_score_adj or 0
        self._header["idle_seconds"] = 60

    def _start(self, fds: Sequence[int]) -> None:
        path = agent_path()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            # The parent-death signal follows the thread that forked; only the main one lives as long as the process.
            in_main = threading.current_thread() is threading.main_thread()
            passed = [self._control, theirs.fileno(), self._event]
            arguments = [self._control, len(self._records.base.obj), theirs.fileno(), self._event]  # type: ignore[union-attr]
            try:
                self._process = subprocess.Popen(
                    [str(path), *map(str, [*arguments, os.getpid(), int(in_main)])],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    pass_fds=[*passed, *fds],
                    start_new_session=True,
                )
            except OSError as error:
                raise CapabilityError(f"the agent {path} can't be started: {error.strerror}") from error
        self._wait(MessageKind.READY, self.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill whatever is left and wait until it is gone; may be called again."""
        if self._closed:
            return
        self._closed = True
        process = self._process
        if process is not None:
            try:
                self._send(MessageKind.QUIT)
                process.wait(self.timeout)
            except (CellFailed, subprocess.TimeoutExpired):
                process.kill()
                process.wait()
                self._await_orphans()
        if self._socket is not None:
            self._socket.close()
        for fd in (self._event, self._control):
            if fd >= 0:
                os.close(fd)

    def _await_orphans(self) -> None:
        """Wait for agents that die because the zygote was killed: its end of the socket is theirs too."""
        if self._socket is None:
            return
        poll = select.poll()
        poll.register(self._socket, 0)
        poll.poll(10_000)

    # -- commands ------------------------------------------------------------------------------------------------

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of all phases, "launch" first and "exit" last."""
        return self._layout.phases

    @property
    def zygote_pid(self) -> int:
        """Process id of the zygote: an idle process like an agent, without a program."""
        assert self._process is not None
        return self._process.pid

    @property
    def pids(self) -> NDArray[np.int32]:
        """Process ids of the agents (thread ids for `Spawn.THREAD`); -1 once an agent was told to exit and did."""
        pids: NDArray[np.int32] = self._records["head"]["pid"][: self.agents].copy()
        return pids

    def run_prefork(self, timeout: float | None = None) -> PhaseResults:
        """Run the ``prefork`` ops in the zygote; returns its results, shape ``(1,)``."""
        phase = self._phase(_PREFORK)
        self._activity = _PREFORK
        self._send(MessageKind.PREFORK, phase)
        self._wait(MessageKind.DONE, timeout)
        results = self._results(phase, self.agents, self.agents + 1)
        self._raise_errors(_PREFORK, self.agents, results)
        return results

    def launch(self, timeout: float | None = None) -> PhaseResults:
        """Start all agents; returns when each is bound, settled and idle. ``duration_ns`` is that of ``clone``."""
        self._activity = "launch"
        self._send(MessageKind.LAUNCH)
        self._wait(None, timeout)
        failed = int(self._header["failed_step"][0])
        if failed:
            raise self._failure(failed, int(self._header["failed_errno"][0]), int(self._header["failed_agent"][0]))
        return self._results(0, 0, self.agents)

    def run(
        self,
        phase: str,
        lo: int = 0,
        hi: int | None = None,
        *,
        parallel: int | None = None,
        timeout: float | None = None,
        check: bool = True,
    ) -> PhaseResults:
        """Run one phase in the agents ``lo <= i < hi`` and return their results.

        Raises
        ------
        CellFailed
            If an agent died, the timeout passed, or (with ``check``) an op failed that was not guarded.
        """
        hi = self.agents if hi is None else hi
        at_a_time = self.parallel if parallel is None else parallel
        if not 0 <= lo <= hi <= self.agents:
            raise ConfigError(f"run: no agents {lo}..{hi} among {self.agents}")
        if at_a_time < 1:
            raise ConfigError(f"parallel: {at_a_time} is not a positive number")
        number = self._phase(phase)
        if number in (0, len(self.phases) - 1):
            raise ConfigError(f"run: {phase!r} is a method of its own")
        if lo < hi:
            self._activity = phase
            self._send(MessageKind.RUN, number, lo, hi, at_a_time)
            self._wait(None, timeout)
        results = self._results(number, lo, hi)
        if check:
            self._raise_errors(phase, lo, results)
        return results

    def check(self, timeout: float | None = None) -> None:
        """Raise `CellFailed` if an agent has died, also after it had reported (as the OOM killer makes it)."""
        self._send(MessageKind.PING)
        self._wait(MessageKind.DONE, timeout)

    def exit(self, parallel: int | None = None, timeout: float | None = None) -> PhaseResults:
        """Let all agents exit; ``duration_ns`` runs from the agent's exit to the zygote's reaping of it."""
        self.check(timeout)
        self._activity = "exit"
        self._send(MessageKind.EXIT, self.parallel if parallel is None else parallel)
        self._wait(MessageKind.DONE, timeout)
        results = self._results(len(self.phases) - 1, 0, self.agents)
        for agent in np.flatnonzero(results["signal"])[:1]:
            raise CellFailed(
                f"agent {agent} of {self.agents} was killed by {_signal_name(results['signal'][agent])} in exit"
            )
        return results

    def results(self, phase: str) -> PhaseResults:
        """Results of the last run of a phase, one entry per agent."""
        return self._results(self._phase(phase), 0, self.agents)

    def op_results(self, phase: str) -> NDArray[np.void]:
        """Results of each op: shape ``(agents, ops)``, fields ``error signal value duration_ns address``.

        An advice of a `Map` counts as an op of its own. Where a program has fewer ops than another, zeros follow.
        """
        number = self._phase(phase)
        first, count = self._layout.op_base[number], self._layout.op_count[number]
        table: NDArray[np.void] = self._records["ops"][: self.agents, first : first + count].copy()
        return table

    # -- the wire ------------------------------------------------------------------------------------------------

    def _phase(self, name: str) -> int:
        if name not in self.phases:
            raise ConfigError(f"phase: no {name!r}; there are {', '.join(self.phases)}")
        return self.phases.index(name)

    def _results(self, phase: int, lo: int, hi: int) -> PhaseResults:
        table: PhaseResults = self._records["phases"][lo:hi, phase].copy()
        return table

    def _send(self, kind: MessageKind, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        assert self._socket is not None
        try:
            self._socket.send(p.MESSAGE.pack(kind, a, b, c, d))
        except OSError as error:
            raise self._zygote_gone() from error

    def _wait(self, reply: MessageKind | None, timeout: float | None) -> None:
        """Wait for the zygote's reply or, where there is none, for the agents' tick."""
        assert self._socket is not None
        assert self._process is not None
        limit = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._event, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(limit)
            for fd, _ in poll.poll(1000 * min(left, _TICK_SECONDS)):
                if fd == self._event:
                    os.eventfd_read(self._event)
                    if reply is None:
                        return
                elif self._read() == reply:
                    return
            if self._process.poll() is not None:
                raise self._zygote_gone()

    def _read(self) -> MessageKind:
        assert self._socket is not None
        try:
            packet = self._socket.recv(p.MESSAGE.size)
        except ConnectionError:
            packet = b""
        if not packet:
            raise self._zygote_gone()
        kind, a, b, c, _ = p.MESSAGE.unpack(packet)
        if kind == MessageKind.DIED:
            raise self._died(a, b, c)
        if kind == MessageKind.FAILED:
            raise self._failure(a, b, c)
        return MessageKind(kind)

    # -- what went wrong -----------------------------------------------------------------------------------------

    def _name(self, agent: int) -> str:
        return f"agent {agent} of {self.agents}" if agent < self.agents else "the zygote"

    def _died(self, agent: int, pid: int, status: int) -> CellFailed:
        who = f"{self._name(agent)} (pid {pid})" if agent >= 0 else f"an agent (pid {pid})"
        if os.WIFSIGNALED(status):
            how = f"was killed by {_signal_name(os.WTERMSIG(status))}"
        else:
            how = f"exited with code {os.waitstatus_to_exitcode(status)}"
        return CellFailed(f"{who} {how}; the last command was {self._activity!r}")

    def _zygote_gone(self) -> CellFailed:
        assert self._process is not None
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return CellFailed(f"the zygote hung up; the last command was {self._activity!r}")
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        return CellFailed(f"the zygote {how}; the last command was {self._activity!r}")

    def _late(self, limit: float) -> CellFailed:
        message = f"{self._activity!r} did not finish within {limit:g} s"
        if self._activity in self.phases:
            lo, hi = (int(self._header[key][0]) for key in ("lo", "hi"))
            done = self._results(self._phase(self._activity), lo, hi)["sequence"] == self._header["sequence"][0]
            if not done.all() and len(done):
                first = lo + int(np.argmin(done))
                pid = int(self._records["head"]["pid"][first])
                message += f": {int(done.sum())} of {hi - lo} agents did; the first that did not is {first} (pid {pid})"
        return CellFailed(message)

    def _failure(self, step: int, code: int, agent: int) -> MshareBenchError:
        reason = f"{errno.errorcode.get(code, code)} ({os.strerror(code)})"
        binding = self._records["head"]["placement"][agent] if 0 <= agent < self.agents else -1
        match step:
            case Step.CGROUP:
                path = bytes(self._header["cgroup_path"][0]).decode(errors="replace")
                return CapabilityError(f"the agents can't join the cgroup {path}: {reason}")
            case Step.NICE | Step.OOM_SCORE:
                return CapabilityError(f"{Step(step).name.lower()} of the agents can't be set: {reason}")
            case Step.AFFINITY | Step.MEMPOLICY:
                what = "CPUs" if step == Step.AFFINITY else "memory policy"
                return PlacementError(f"{what} of binding {binding}, first used by {self._name(agent)}: {reason}")
            case Step.CLONE:
                hint = "; see pid_max, RLIMIT_NPROC and the cgroup's pids.max" if code == errno.EAGAIN else ""
                return CellFailed(f"launch stopped at {self._name(agent)}: {reason}{hint}")
            case _:
                return CellFailed(f"the zygote failed at {Step(step).name.lower()}: {reason}")

    def _raise_errors(self, phase: str, lo: int, results: PhaseResults) -> None:
        bad = np.flatnonzero(results["error"])
        if len(bad):
            place = int(bad[0])
            code, op = int(results["error"][place]), int(results["failed_op"][place])
            raise CellFailed(
                f"{phase}: op {op} of {self._name(lo + place)} failed with "
                f"{errno.errorcode.get(code, code)} ({os.strerror(code)}); so it went for {len(bad)} of {len(results)}"
            )


def _indices(name: str, given: ArrayLike | None, agents: int, low: int, count: int) -> NDArray[np.int64]:
    """The index of each agent, `low` where nothing is given, checked against the number of entries."""
    if given is None:
        return np.full(agents, low, dtype=np.int64)
    indices = np.asarray(given, dtype=np.int64)
    if indices.shape != (agents,):
        raise ConfigError(f"{name}: shape {indices.shape} is not ({agents},)")
    if indices.min() < low or indices.max() >= count:
        raise ConfigError(f"{name}: {indices.min()}..{indices.max()} is not within {low}..{count - 1}")
    return indices


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
