"""What runs on a machine of the cluster: one actor, which says what the machine is, answers, and runs its real cells."""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mshare_bench.cluster.batch import run_batch
from mshare_bench.cluster.stamp import Where, named
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, PartsEngine, Tables
from mshare_bench.errors import CellFailed

__all__ = ["WATCH", "MachineActor", "Report", "actor_class"]

WATCH = "watch"
"""The actor's concurrency group that answers while a cell runs."""

_WATCHERS = 3  # one may wait in `armed`, and answers go on beside it
_START_SECONDS = 600.0
_SPIN_NS = 500_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a machine says of itself.

    Attributes
    ----------
    where
        Its hardware, environment and topology.
    nice, oom_score_adj
        Of the processes that it starts: what Ray's workers have and could not be undone.
    """

    where: Where
    nice: int
    oom_score_adj: int


class MachineActor:
    """Runs on one machine, in a process of its own, and keeps the real engine from cell to cell.

    Parameters
    ----------
    engine
        The real one; None where there are no real cells. The driver made it, its code is this machine's.
    where
        Reads this machine's environment.
    """

    def __init__(self, engine: Engine | None, where: Callable[[], Where] | Where) -> None:
        _shed()
        self._engine = engine
        self._where = where if isinstance(where, Where) else where()
        self._gates: dict[str, _Gate] = {}

    def report(self) -> Report:
        """Say what this machine is."""
        return Report(self._where, os.nice(0), _oom_score_adj())

    def clock(self) -> int:
        """Answer, with this machine's CLOCK_MONOTONIC in ns."""
        return time.monotonic_ns()

    def run(self, cells: tuple[Cell, ...], name: str | None) -> Tables:
        """Run real cells; `name` of this machine goes into the rows of their groups, None leaves them as they are."""
        _shed()  # niceness is a thread's own
        assert self._engine is not None
        tables = run_batch(cells, self._engine, self._where)
        return tables if name is None else named(tables, name)

    def run_part(self, cell: Cell, key: str) -> Tables:
        """Run this machine's part of a cell; between `armed` and `go` of the same key it waits."""
        _shed()
        gate = self._gate(key)
        try:
            return run_batch((cell,), _PartOf(cast(PartsEngine, self._engine), gate), self._where)
        finally:
            gate.armed.set()  # kept: who asks late must not wait

    def armed(self, key: str) -> bool:
        """Return when the processes of a part are there and wait (or never will be)."""
        return self._gate(key).armed.wait()

    def go(self, key: str, at_ns: int | None) -> None:
        """Let a part start at an instant of this machine's CLOCK_MONOTONIC; None calls it off."""
        self._gate(key).starts.put(at_ns)

    def _gate(self, key: str) -> "_Gate":
        return self._gates.setdefault(key, _Gate())


class _Gate:
    """Where a part waits for its start."""

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.starts: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Wait for the start."""
        self.armed.set()
        try:
            at = self.starts.get(timeout=_START_SECONDS)
        except queue.Empty:
            raise CellFailed(f"nobody gave the start within {_START_SECONDS:g} s") from None
        if at is None:
            raise CellFailed("another machine's part did not get ready")
        time.sleep(max(0, at - time.monotonic_ns() - _SPIN_NS) / 1e9)
        while time.monotonic_ns() < at:  # a sleep may end late, by more than it may early
            pass


class _PartOf:
    """The real engine, that runs cells as parts."""

    name = "real"

    def __init__(self, engine: PartsEngine, gate: _Gate) -> None:
        self._engine = engine
        self._gate = gate
        self.model = engine.model

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run the one part."""
        for cell in cells:
            yield self._engine.run_part(cell, self._gate.begin)


def actor_class(ray: Any) -> Any:
    """The actor for Ray."""
    return ray.remote(concurrency_groups={WATCH: _WATCHERS})(MachineActor)


def _shed() -> None:
    """Undo what children of a worker would inherit: nice 15 and an oom_score_adj of 1000. Without the right to, it stays."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("0")


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())
