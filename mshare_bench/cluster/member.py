"""What runs on a machine of the cluster: one actor, which says what the machine is, answers, and runs its real cells."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mshare_bench.cluster.batch import run_batch
from mshare_bench.cluster.stamp import Where, named
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, Tables

__all__ = ["WATCH", "MachineActor", "Report", "actor_class"]

WATCH = "watch"
"""The actor's concurrency group that answers while a cell runs."""


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


def actor_class(ray: Any) -> Any:
    """The actor for Ray."""
    return ray.remote(concurrency_groups={WATCH: 1})(MachineActor)


def _shed() -> None:
    """Undo what children of a worker would inherit: nice 15 and an oom_score_adj of 1000. Without the right to, it stays."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("0")


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())
