"""Cells that differ in numbers only: computed once for all of them.

Cells of one workload, mechanism and setting have regions, page sets and cohorts of the same make, whatever their sizes and
counts are. So the numbers of such cells are made arrays (`mshare_bench.domain.many`), and every formula of `sim` gives an array
where it gives a number for one cell. Where the formulas part, so do the cells. A sweep then costs what its distinct makes cost.

Cells that differ in nothing but how many processes there are share a row of these arrays: what a process touches does not depend
on how many others do the same, so it is counted once for all of them.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.many import Many, many
from mshare_bench.domain.pages import PageSet, Run
from mshare_bench.domain.workload import Cohort, Region, Touch, Workload

__all__ = ["Alike", "group_alike"]

_EXACT = 1 << 60
"""Bytes over all processes up to which 64-bit sums can't overflow; beyond, a cell is computed by itself, in Python's integers."""
_PARTINGS = 12
"""How often cells may part before each goes its own way."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Cells, and the point to compute: of one cell its own, of several one whose numbers are arrays.

    Attributes
    ----------
    shape, places
        Shape of the arrays (a row per pattern, a column per number of processes), and where in it each cell is, counted along the
        rows; None for one cell.
    partings
        How often these cells parted from others.
    """

    cells: tuple[Cell, ...]
    point: Point
    shape: tuple[int, int] | None = None
    places: npt.NDArray[np.int64] | None = None
    partings: int = 0

    def column(self, value: Any) -> Any:
        """What was computed: as it is where it is one value, or already has one for each cell; else one for each cell."""
        if self.shape is None or self.places is None or not isinstance(value, np.ndarray) or value.ndim != 2:
            return value
        return np.broadcast_to(np.asarray(value), self.shape).ravel()[self.places]

    def parted(self, labels: npt.NDArray[Any]) -> "Iterator[Alike]":
        """Those with the same label together; each by itself once they have parted too often."""
        parts: dict[Any, list[Cell]] = {}
        for cell, label in zip(self.cells, self.column(labels).tolist(), strict=True):
            parts.setdefault(label, []).append(cell)
        if len(parts) < 2 or self.partings == _PARTINGS:
            yield from self.alone()
            return
        for part in parts.values():
            yield _stacked(part, self.partings + 1)

    def alone(self) -> "Iterator[Alike]":
        """Each by itself."""
        return (Alike((cell,), cell.point) for cell in self.cells)


def group_alike(cells: Sequence[Cell]) -> list[Alike]:
    """Group cells, in the order in which each group's first comes."""
    groups: dict[Any, list[Cell]] = {}
    known: dict[int, Any] = {}
    for cell in cells:
        groups.setdefault(_key(cell, known), []).append(cell)
    return [_stacked(group) for group in groups.values()]


@dataclass(slots=True)
class _Make:
    """What is known of a workload; several workloads of one make have one `key`.

    `pattern` tells workloads apart that differ in more than their processes, `counts` are those of the cohorts; `exact` says
    whether 64 bits are enough.
    """

    key: Any
    pattern: tuple[int, ...]
    counts: tuple[int, ...]
    exact: bool
    numbers: npt.NDArray[np.int64] | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Identities hold in this process only: a workload that is sent to another is looked at anew there."""
        return type(None), ()


def _make_of(workload: Workload, known: dict[int, Any] | None = None) -> _Make:
    """Look a workload over once; `known` holds what its touches are made of, which those of the same sizes share."""
    if workload._make is None:
        found = {} if known is None else known
        touches = [touch for group in workload.groups for cohort in group.cohorts for touch in cohort.touches]
        sizes = (number for region in workload.regions for number in (region.size, region.instances))
        key = (
            workload.name,
            *((one.name, one.instances > 1, one.adjacent) for one in workload.regions),
            *(
                (group.name, group.role, group.life, *(len(cohort.touches) for cohort in group.cohorts))
                for group in workload.groups
            ),
            *(found.get(id(one)) or found.setdefault(id(one), _touch_key(one)) for one in touches),
            str(workload.params),
        )
        counts = tuple(cohort.processes for group in workload.groups for cohort in group.cohorts)
        exact = sum(counts) * workload.region_bytes <= _EXACT
        made = _Make(_same(key), (*sizes, *map(id, touches)), counts, exact)
        object.__setattr__(workload, "_make", made)
    return cast(_Make, workload._make)


@functools.lru_cache(maxsize=4096)
def _same(key: Any) -> Any:
    """The first of equal keys, so that they can be told by identity."""
    return key


def _touch_key(touch: Touch) -> Any:
    """What a touch is made of, its numbers aside."""
    sets = (touch.touched, touch.written, touch.read)
    same = (touch.written is touch.touched, touch.read is touch.touched)
    return touch.region, touch.stride > 0, same, tuple(tuple(run.whole for run in pages.runs) for pages in sets)


def _key(cell: Cell, known: dict[int, Any]) -> Any:
    """Everything of a cell but its numbers."""
    point = cell.point
    made = _make_of(point.workload, known)
    if point.machines is not None or cell.mmu or not made.exact:
        return id(cell)
    return (
        *(id(made.key), point.mechanism, point.variant, point.page, point.offset),
        *(point.access, point.write_fraction, point.populate, point.topology, point.placement),
        *(cell.engine, cell.host, cell.machine, cell.cost, cell.seed, cell.extrapolated),
    )


def _stacked(cells: Sequence[Cell], partings: int = 0) -> Alike:
    first = cells[0].point
    if len(cells) == 1:
        return Alike((cells[0],), first)
    patterns: dict[Any, list[Cell]] = {}
    for cell in cells:
        patterns.setdefault(_make_of(cell.point.workload).pattern, []).append(cell)
    # In one order, whatever cells a batch begins with: what is known of these patterns is found again.
    rows = [patterns[pattern] for pattern in sorted(patterns)]
    width = max(map(len, rows))
    ordered = tuple(cell for row in rows for cell in row)
    places = np.array([at * width + place for at, row in enumerate(rows) for place in range(len(row))], np.int64)
    # Short rows are filled up with their last cell, so that the array is whole.
    filled = [[*row, *[row[-1]] * (width - len(row))] for row in rows]
    counts = np.array([[_make_of(cell.point.workload).counts for cell in row] for row in filled], np.int64)
    stacked = _workload([row[0].point.workload for row in rows], counts)
    return Alike(ordered, replace(first, workload=stacked), (len(rows), width), places, partings)


def _workload(rows: Sequence[Workload], counts: npt.NDArray[np.int64]) -> Workload:
    """A workload like the first with the numbers of all."""
    first = rows[0]
    regions, touches = _patterns(tuple(_make_of(one).pattern for one in rows), _Rows(rows))
    numbers, touched = iter(np.moveaxis(counts, 2, 0)), iter(touches)
    groups = tuple(
        replace(
            group,
            cohorts=tuple(
                Cohort(many(next(numbers)), tuple(next(touched) for _ in cohort.touches)) for cohort in group.cohorts
            ),
        )
        for group in first.groups
    )
    return replace(first, regions=regions, groups=groups)


class _Rows(list[Workload]):
    """Workloads beside the key that tells them: as long as it is kept they live, so that the identities in it stay theirs."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rows)


@functools.lru_cache(maxsize=32)
def _patterns(_key: tuple[tuple[int, ...], ...], rows: _Rows) -> tuple[tuple[Region, ...], tuple[Touch, ...]]:
    """Regions and touches with the numbers of all; the same objects for the same patterns."""
    first = rows[0]
    numbers = np.ascontiguousarray(np.array([_numbers(one) for one in rows], np.int64).T)
    same = (numbers == numbers[:, :1]).all(axis=1).tolist()
    columns = iter(
        [row[0].item() if alike else row[:, None].view(Many) for row, alike in zip(numbers, same, strict=True)]
    )

    def take() -> int:
        return cast(int, next(columns))

    regions = tuple(replace(one, size=take(), instances=take()) for one in first.regions)
    groups = first.groups
    touches = tuple(_touch(touch, take) for group in groups for cohort in group.cohorts for touch in cohort.touches)
    return regions, touches


def _touch(touch: Touch, take: Callable[[], int]) -> Touch:
    stride = take()
    touched = _pages(touch.touched, take)
    written = touched if touch.written is touch.touched else _pages(touch.written, take)
    read = touched if touch.read is touch.touched else _pages(touch.read, take)
    return Touch(touch.region, touched, written, read, stride)


def _pages(pages: PageSet, take: Callable[[], int]) -> PageSet:
    return PageSet(tuple(Run(*(take() for _ in range(8))) for _ in pages.runs))


def _numbers(workload: Workload) -> npt.NDArray[np.int64]:
    """Every number of a workload but those of its processes, in the order in which `_patterns` takes them."""
    made = _make_of(workload)
    if made.numbers is None:
        found = [number for region in workload.regions for number in (region.size, region.instances)]
        for group in workload.groups:
            for cohort in group.cohorts:
                for touch in cohort.touches:
                    found.append(touch.stride)
                    sets = [touch.touched]
                    sets += [pages for pages in (touch.written, touch.read) if pages is not touch.touched]
                    for pages in sets:
                        for run in pages.runs:
                            found += (run.first, run.step, run.length, run.low, run.high, run.begin, run.end, run.seed)
        made.numbers = np.array(found, np.int64)
    return made.numbers
