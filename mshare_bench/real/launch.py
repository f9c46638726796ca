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
turn on to the next, so the controller wakes once. Counts of read faults are exact only with ``parallel=1``: fault-around
passes over folios that another process has locked at that instant, and two agents that read the same pages at the same
time lock them for each other (64 faults per 4 MiB become up to 122). So does whatever else walks over mapped pages, DAMON
for one: with a thousand mappers, a few faults in a million.

Whatever happens, nothing stays behind: agents die with the zygote, the zygote with the controller. An agent that dies
before it was told to is named in the `CellFailed` that the next call raises; every wait has a timeout.
"""

__all__ = ["Binding", "PhaseResults", "ProcessTree", "Spawn"]

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshare_bench.errors import CellFailed, ConfigError, MshareBenchError
from mshare_bench.real.agent import failures
from mshare_bench.real.agent import protocol as p
from mshare_bench.real.agent.image import Binding, ControlImage, encode
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.agent.ops import Op, Program
from mshare_bench.real.agent.protocol import MessageKind, Spawn
from mshare_bench.real.agent.zygote import Packet, Zygote

PhaseResults: TypeAlias = NDArray[np.void]
"""Structured array, one entry per agent, with the int64 fields of ``protocol.PHASE_RESULT``:
``start_ns`` (CLOCK_MONOTONIC) ``duration_ns`` ``minor_faults`` ``major_faults`` ``error`` (errno of the unguarded op
that ended the phase) ``failed_op`` (its place, or -1) ``signal`` ``sequence`` (0: never run)."""

_PREFORK = "prefork"
_IDLE_SECONDS = 60  # after which an idle agent looks for its parent


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
        How many agents run at a time; None: as many as this process may use CPUs; 1 for exact counts and clean times.
    bindings, binding
        Distinct bindings, and the one of each agent (-1: none).
    prefork
        Ops run in the zygote by `run_prefork`, before agents are forked: what it maps, they inherit.
    cgroup
        Path of a ``cgroup.procs`` or ``tasks`` file that the zygote joins before anything else.
    nice, oom_score_adj
        Set in the zygote, inherited by the agents; None leaves them alone.
    timeout
        Seconds that any one command may take; a phase, from one agent that finishes to the next.

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
        if parallel is not None and parallel < 1:
            raise ConfigError(f"parallel: {parallel} is not a positive number")
        self.agents = agents
        self.parallel = parallel if parallel is not None else len(os.sched_getaffinity(0))
        self.timeout = timeout
        everything: list[Program] = [*programs, {_PREFORK: prefork}] if prefork else list(programs)
        image = encode(everything, bindings, agents)
        program = _indices("assignment", assignment, agents, 0, len(programs))
        placement = _indices("binding", binding, agents, -1, len(bindings))
        path = agent_path()

        self._layout = image.layout
        self._activity = "start"
        self._broken: MshareBenchError | None = None
        self._zygote: Zygote | None = None
        self._header = np.zeros(1, dtype=p.HEADER)
        self._records = np.zeros(0, dtype=image.layout.record)
        self._control = os.memfd_create("mshare-control")
        try:
            self._fill_control(image, spawn, cgroup, nice, oom_score_adj)
            heads = self._records["head"]
            heads["index"] = np.arange(agents + 1)
            heads["program"] = [*program, len(everything) - 1]
            heads["placement"] = [*placement, -1]
            self._zygote = Zygote(Path(path), self._control, image.total_bytes, fds)
            self._wait(MessageKind.READY, timeout)
        except BaseException:
            self.close()
            raise

    def _fill_control(
        self,
        image: ControlImage,
        spawn: Spawn,
        cgroup: str | os.PathLike[str] | None,
        nice: int | None,
        oom_score_adj: int | None,
    ) -> None:
        os.ftruncate(self._control, image.total_bytes)
        memory = mmap.mmap(self._control, image.total_bytes)
        memory[: len(image.prefix)] = image.prefix
        self._header = np.frombuffer(memory, dtype=p.HEADER, count=1)
        self._records = np.frombuffer(memory, image.layout.record, self.agents + 1, image.records_offset)
        self._cgroup = os.fsencode(cgroup) if cgroup is not None else b""
        if len(self._cgroup) >= p.PATH_BYTES:
            raise ConfigError(f"cgroup: the path is longer than {p.PATH_BYTES - 1} bytes")
        values = {
            "spawn": spawn,
            "cgroup_path": self._cgroup,
            "set_nice": nice is not None,
            "nice": nice or 0,
            "set_oom_score": oom_score_adj is not None,
            "oom_score": oom_score_adj or 0,
            "idle_seconds": _IDLE_SECONDS,
        }
        for name, value in values.items():
            self._header[name] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, patience: float = 30.0) -> None:
        """Kill whatever is left and wait until it is gone; may be called again.

        The zygote has `patience` seconds to do it, then it is killed itself and its agents die with it.
        """
        if self._zygote is not None:
            self._zygote.close(patience)
            self._zygote = None
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
            # Results can still be read; the memory itself goes.
            self._header, self._records = self._header.copy(), self._records.copy()

    # -- commands ------------------------------------------------------------------------------------------------

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of all phases, "launch" first and "exit" last."""
        return self._layout.phases

    @property
    def zygote_pid(self) -> int:
        """Process id of the zygote: an idle process like an agent, without a program."""
        return self._open().pid

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
            raise self._step_failed(failed, int(self._header["failed_errno"][0]), int(self._header["failed_agent"][0]))
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
                f"agent {agent} of {self.agents} was killed by {failures.signal_name(results['signal'][agent])} in exit"
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

    def _open(self) -> Zygote:
        if self._zygote is None:
            raise CellFailed("the process tree is closed")
        return self._zygote

    def _send(self, kind: MessageKind, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        zygote = self._open()
        if self._broken is not None:
            raise CellFailed(str(self._broken))
        try:
            zygote.send(kind, a, b, c, d)
        except OSError as error:
            raise failures.zygote_gone(zygote.exit_code(), self._activity) from error

    def _wait(self, reply: MessageKind | None, timeout: float | None) -> None:
        """Wait for the zygote's reply or, where there is none, for the agents' tick.

        After a failure the state of the agents is unknown: every later command fails alike, and only `close` is left.
        """
        zygote, limit = self._open(), self.timeout if timeout is None else timeout
        try:
            packet = self._receive(zygote, limit)
            if packet.kind == MessageKind.DIED:
                raise failures.died(packet.a, self.agents, packet.b, packet.c, self._activity)
            if packet.kind == MessageKind.FAILED:
                raise self._step_failed(packet.a, packet.b, packet.c)
            if packet.kind != reply:
                raise CellFailed(f"the zygote answered {packet.kind!r} to {self._activity!r}")
        except MshareBenchError as error:
            self._broken = error
            raise
        except TimeoutError as error:
            self._broken = self._late(limit)
            raise self._broken from error
        except ConnectionError as error:
            self._broken = failures.zygote_gone(zygote.exit_code(), self._activity)
            raise self._broken from error

    def _receive(self, zygote: Zygote, limit: float) -> Packet:
        """Wait for a packet. The time starts anew as long as agents go on finishing: a slow machine is no hanging agent."""
        seen = 0
        while True:
            try:
                return zygote.receive(limit)
            except TimeoutError:
                done = int(self._done()[1].sum())
                if done <= seen:
                    raise
                seen = done

    def _done(self) -> tuple[int, NDArray[np.bool_]]:
        """The first agent of the phase that runs, and which agents from it on have finished; none outside of phases."""
        if self._activity not in self.phases:
            return 0, np.zeros(0, bool)
        lo, hi = (int(self._header[key][0]) for key in ("lo", "hi"))
        results = self._results(self._phase(self._activity), lo, hi)
        return lo, results["sequence"] == self._header["sequence"][0]

    # -- what went wrong -----------------------------------------------------------------------------------------

    def _name(self, agent: int) -> str:
        return f"agent {agent} of {self.agents}" if agent < self.agents else "the zygote"

    def _step_failed(self, step: int, code: int, agent: int) -> MshareBenchError:
        binding = int(self._records["head"]["placement"][agent]) if 0 <= agent < self.agents else -1
        return failures.step_failed(step, code, self._name(agent), binding, os.fsdecode(self._cgroup))

    def _late(self, limit: float) -> CellFailed:
        message = f"{self._activity!r} did not finish within {limit:g} s"
        lo, done = self._done()
        if len(done) and not done.all():
            first = lo + int(np.argmin(done))
            pid = int(self._records["head"]["pid"][first])
            after = " after the last agent that did" if done.any() else ""
            message += (
                f"{after}: {int(done.sum())} of {len(done)} agents did; the first that did not is {first} (pid {pid})"
            )
        return CellFailed(message)

    def _raise_errors(self, phase: str, lo: int, results: PhaseResults) -> None:
        bad = np.flatnonzero(results["error"])
        if len(bad):
            place = int(bad[0])
            code, op = int(results["error"][place]), int(results["failed_op"][place])
            raise CellFailed(
                f"{phase}: op {op} of {self._name(lo + place)} failed with {failures.errno_text(code)}; "
                f"so it went for {len(bad)} of {len(results)}"
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
