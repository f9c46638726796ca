"""Many cells, held as columns: what they are made of once for each distinct choice, and per cell where its parts are.

A sweep of a million cells has far fewer workloads, a handful of mechanisms and one or two runners. So a plan, a batch and what is
sent to another machine hold these once, and for each cell where its parts are; cells are made when somebody looks at them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, cast, overload

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import (
    Cell,
    Point,
    baseline_digest,
    cell_digest,
    mechanism_texts,
    place_texts,
    point_digest,
    runner_text,
    workload_texts,
)
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.workload import Workload

__all__ = ["Cells", "Mapper", "Place", "Runner", "Task"]


class Task(NamedTuple):
    """What a cell's processes do: fields of `Point`."""

    workload: Workload
    offset: int = 0
    access: AccessPattern = AccessPattern()
    write_fraction: float = 0.0


class Mapper(NamedTuple):
    """By what mechanism: fields of `Point`."""

    mechanism: str
    variant: str
    page: int
    options: Mapping[str, Any]


class Place(NamedTuple):
    """Where: fields of `Point`."""

    populate: Literal["controller", "first_touch"]
    topology: str
    placement: str
    machines: Topology | None


class Runner(NamedTuple):
    """Who runs it: fields of `Cell`."""

    engine: Literal["sim", "real"]
    host: str
    machine: str
    cost: str
    mmu: MmuSetting | None
    model: str
    seed: int
    extrapolated: bool


Parts = tuple[Sequence[Task], Sequence[Mapper], Sequence[Place], Sequence[Runner]]
_WIDTH, _REPEAT = 5, 4
_Columns = npt.NDArray[np.int32]
_Digests = npt.NDArray[np.bytes_]


class Cells(Sequence[Cell]):
    """Cells in order; a cell that is taken out is made anew, with its digests.

    Parameters
    ----------
    parts
        What the cells are made of.
    columns
        Per cell its place in each of these, and its repeat; shape (n, 5).
    digests
        Per cell those of the cell, its point and its baseline; shape (n, 3). Taken when they are asked for, if left
        out.
    """

    __slots__ = ("_digests", "_parts", "columns")

    def __init__(
        self,
        parts: Parts,
        columns: npt.ArrayLike,
        digests: _Digests | None = None,
    ) -> None:
        self._parts = parts
        self.columns: _Columns = np.asarray(columns, np.int32).reshape(-1, _WIDTH)
        self._digests = digests

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "Cells":
        """The same cells as columns."""
        if isinstance(cells, Cells):
            return cells
        tables: tuple[dict[Any, Any], ...] = ({}, {}, {}, {})

        def place_of(which: int, key: Any, part: Any) -> int:
            return int(tables[which].setdefault(key, (len(tables[which]), part))[0])

        index = []
        for cell in cells:
            point = cell.point
            task = Task(point.workload, point.offset, point.access, point.write_fraction)
            mapper = Mapper(point.mechanism, point.variant, point.page, point.options)
            place = Place(point.populate, point.topology, point.placement, point.machines)
            runner = Runner(
                cell.engine, cell.host, cell.machine, cell.cost, cell.mmu, cell.model, cell.seed, cell.extrapolated
            )
            index.append(
                (
                    place_of(0, (id(point.workload), *task[1:]), task),
                    place_of(1, (*mapper[:3], id(point.options)), mapper),
                    place_of(2, (*place[:3], id(point.machines)), place),
                    place_of(3, runner, runner),
                    cell.repeat,
                )
            )
        return cls(cast(Parts, tuple([part for _, part in table.values()] for table in tables)), index)

    @classmethod
    def joined(cls, parts: "Sequence[Cells]") -> "Cells":
        """Several one after the other."""
        if len(parts) == 1:
            return parts[0]
        tables: tuple[list[Task], list[Mapper], list[Place], list[Runner]] = ([], [], [], [])
        index = []
        for part in parts:
            index.append(part.columns + np.array([*(len(table) for table in tables), 0], np.int32))
            for table, more in zip(tables, part._parts, strict=True):
                cast(list[Any], table).extend(more)
        return cls(tables, np.concatenate(index) if index else [])

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent with the parts that these cells have, not with those of all from which they were taken."""
        tables, index = [], self.columns.copy()
        for column, table in enumerate(self._parts):
            used, index[:, column] = np.unique(index[:, column], return_inverse=True)
            tables.append([table[at] for at in used.tolist()])
        return type(self), (tuple(tables), index, self.digests)

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, at: int) -> Cell: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> "Cell | Self":
        if isinstance(at, slice):
            return self.take(at)
        digests = None if self._digests is None else self._digests[at].astype(str).tolist()
        return self._cell(self.columns[at].tolist(), digests)

    def __iter__(self) -> Iterator[Cell]:
        if self._digests is None:
            return (self._cell(row) for row in self.columns.tolist())
        return map(self._cell, self.columns.tolist(), self._digests.astype(str).tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Cell.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Cells({list(self)!r})"

    def take(self, at: slice | npt.NDArray[Any]) -> Self:
        """Those at these positions, or where this mask is true."""
        digests = None if self._digests is None else self._digests[at]
        return type(self)(self._parts, self.columns[at], digests)

    def repeated(self, repeat: npt.ArrayLike) -> Self:
        """The same with other repeats."""
        index = self.columns.copy()
        index[:, _REPEAT] = repeat
        return type(self)(self._parts, index, self._digests)

    @property
    def tasks(self) -> Sequence[Task]:
        """What the first column of `columns` counts in; some of them may belong to none of these cells."""
        return self._parts[0]

    @property
    def runners(self) -> set[Runner]:
        """All who run any of these cells."""
        return {self._parts[3][at] for at in np.unique(self.columns[:, 3]).tolist()}

    @property
    def repeats(self) -> npt.NDArray[np.int32]:
        """Per cell its repeat."""
        return self.columns[:, _REPEAT]

    @property
    def digests(self) -> _Digests:
        """Per cell the digests of the cell, its point and its baseline; ASCII."""
        if self._digests is None:
            self._digests = self._found()
        return self._digests

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Per cell its digest and repeat: what a store knows it by."""
        return list(zip(self.digests[:, 0].astype(str).tolist(), self.repeats.tolist(), strict=True))

    def whose(
        self,
        *,
        task: Callable[[Task], Any] | None = None,
        place: Callable[[Place], Any] | None = None,
        runner: Callable[[Runner], Any] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Mask of the cells all of whose parts meet these conditions; each is asked once of every part, not of every cell."""
        mask = np.ones(len(self), bool)
        for column, condition in ((0, task), (2, place), (3, runner)):
            if condition is not None:
                table: Sequence[Any] = self._parts[column]
                mask &= np.array([bool(condition(part)) for part in table], bool)[self.columns[:, column]]
        return mask

    def _cell(self, row: Sequence[int], digests: Sequence[str] | None = None) -> Cell:
        tasks, mappers, places, runners = self._parts
        workload, offset, access, write_fraction = tasks[row[0]]
        mechanism, variant, page, options = mappers[row[1]]
        populate, topology, placement, machines = places[row[2]]
        engine, host, machine, cost, mmu, model, seed, extrapolated = runners[row[3]]
        point = Point(
            workload, mechanism, variant, page, offset, access, write_fraction, populate, topology, placement, options, machines
        )  # fmt: skip
        cell = Cell(point, engine, host, machine, cost, mmu, model, row[4], seed, extrapolated)
        if digests is not None:
            object.__setattr__(cell, "_digest", digests[0])
            object.__setattr__(point, "_digest", digests[1])
            object.__setattr__(point, "_baseline", digests[2])
        return cell

    def _found(self) -> _Digests:
        tasks, mappers, places, runners = self._parts
        own = [workload_texts(*task) for task in tasks]
        by = [mechanism_texts(one.mechanism, one.page, one.variant) for one in mappers]
        where = [place_texts(one.populate, one.topology, one.placement) for one in places]
        who = [runner_text(*one[:6]) for one in runners]
        rows = self.columns.tolist()
        known: dict[tuple[int, int], str] = {}
        for task, _, place, _, _ in rows:
            if (task, place) not in known:
                known[task, place] = baseline_digest(own[task], where[place])
        points = [point_digest(own[task], where[place], by[mapper]) for task, mapper, place, _, _ in rows]
        cells = [cell_digest(who[row[3]], point) for row, point in zip(rows, points, strict=True)]
        baselines = [known[task, place] for task, _, place, _, _ in rows]
        return np.stack([np.frombuffer("".join(one).encode(), "S16") for one in (cells, points, baselines)], axis=1)
