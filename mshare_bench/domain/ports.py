"""The contracts between the rooms: who runs cells, who estimates them, who keeps track."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mshare_bench.domain.application import Figure, MappedFile, Stage, Watched
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells

__all__ = ["ApplicationDriver", "Engine", "Estimate", "Estimator", "Executor", "Tables", "Tracker"]

Tables = Mapping[str, Any]
"""Arrow tables by name, as `mshare_bench.results.schema` has them (typed loosely: this room imports no Arrow)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a cell is expected to take.

    Attributes
    ----------
    seconds
        Time to run it.
    memory
        Bytes of memory it needs at its peak (a real cell: data, tables and processes; a simulated one: next to nothing).
    page_tables
        Bytes of page tables that it will show.
    """

    seconds: float
    memory: int
    page_tables: int


class Engine(Protocol):
    """Runs cells; `sim` and `real` are its two kinds."""

    name: str
    model: str
    """Version of what its results depend on; part of every cell's digest."""

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run the cells in order and give back tables, one mapping per cell or per batch; no cell raises.

        A cell that the machine can't run becomes a `skipped` row with its reason, one that died a `failed` or `void` row.
        """


@dataclass(frozen=True, slots=True)
class Part:
    """What of a cell runs on one machine.

    Attributes
    ----------
    machine
        Its number in the cell's topology.
    cell
        The part, as a cell for one machine.
    nodes
        NUMA nodes that the placement names there.
    """

    machine: int
    cell: Cell
    nodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Share:
    """What a part gave.

    Attributes
    ----------
    name, kind
        Name of the machine, and digest of its hardware.
    node
        Its only NUMA node; None where it has several.
    tables
        The part's rows.
    start_ns, error_ns
        When its first process attached, on a clock that all shares have in common, and how far that can be off; None where it
        never did.
    """

    name: str
    kind: str
    node: int | None
    tables: Tables
    start_ns: float | None = None
    error_ns: float = 0.0


class PartsEngine(Engine, Protocol):
    """An engine whose cells can run on several machines at once."""

    def parts(self, cell: Cell) -> Sequence[Part]:
        """Say what of a cell runs on which machine of its topology; raises a `PlacementError` where it has no room."""

    def run_part(self, cell: Cell, begin: Callable[[], None]) -> Tables:
        """Run a part; its processes start when `begin` returns."""

    def combine(self, cell: Cell, shares: Sequence[Share]) -> Tables:
        """Make the rows of a cell from those of its parts."""


class Estimator(Protocol):
    """Says what a cell will take, before it runs."""

    def estimate(self, cell: Cell) -> Estimate:
        """Estimate one cell."""


class Executor(Protocol):
    """Runs cells somewhere: in this process, or through Ray."""

    name: str

    def run(self, cells: Cells, engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Run every cell with the engine that it names; tables come back as they are done, in any order."""

    def close(self) -> None:
        """Put away what was started."""


class ApplicationDriver(Protocol):
    """Runs a real program so that it can be watched: one driver for one cell.

    The order is `lack`, `knobs`, `start`, `attach`, `touch`, `figures`, `stop`; `stop` is called whatever happened. Each may
    raise `CapabilityError` (the cell is skipped) or `CellFailed`.
    """

    def lack(self, stage: Stage) -> str | None:
        """Say what is not installed, and how to get it; None when nothing is missing."""

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """Kernel knobs that must be set while it runs, by name; `hugepages` is so many of `stage.page` bytes on top."""

    def start(self, stage: Stage) -> None:
        """Start the servers and load their data."""

    def attach(self, stage: Stage) -> Watched:
        """Bring the processes to where they have mapped the memory and have touched as little of it as can be."""

    def touch(self, stage: Stage) -> Watched:
        """Let them touch it; gives the processes to be watched from now on, most often the same."""

    def watches(self, mapping: MappedFile) -> bool:
        """Whether a mapping belongs to the memory that is the matter here."""

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """What the application says of itself."""

    def stop(self, stage: Stage) -> None:
        """End what `start` has started, in the application's own way; what is left is killed after it."""


class Tracker(Protocol):
    """Keeps track of a finished sweep: MLflow, or nothing."""

    def log(self, store: Any, progress: Callable[[str], None]) -> str | None:
        """Log what a store holds; returns the link to look at, if there is one."""
