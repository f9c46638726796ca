"""Cells that differ in numbers only: computed once for all of them.

Cells of one workload, mechanism and setting have regions, page sets and cohorts of the same make, whatever their sizes and
counts are. So the numbers of such cells are made arrays (`mshare_bench.domain.many`), and every formula of `sim` gives an array
where it gives a number for one cell. Where the formulas part, so do the cells. A sweep then costs what its distinct makes cost.

Cells that differ in nothing but how many processes there are share a row of these arrays: what a process touches does not depend
on how many others do the same, so it is counted once for all of them.
"""

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
    makes: dict[int, Any] = {}
    for cell in cells:
        groups.setdefault(_key(cell, makes), []).append(cell)
    return [_stacked(group) for group in groups.values()]


def _key(cell: Cell, makes: dict[int, Any]) -> Any:
    """Everything of a cell but its numbers; `makes` holds what is known of touches, which cells share."""
    point = cell.point
    workload = point.workload
    if point.machines is not None or cell.mmu or workload.processes * workload.region_bytes > _EXACT:
        return id(cell)
    groups = []
    for group in workload.groups:
        cohorts: list[Any] = []
        for cohort in group.cohorts:
            for touch in cohort.touches:
                if id(touch) not in makes:
                    makes[id(touch)] = _make(touch)
            # The first process of several may do more than the others, so one alone is another make.
            cohorts.append((cohort.processes > 1, *(makes[id(touch)] for touch in cohort.touches)))
        groups.append((group.name, group.role, group.life, *cohorts))
    return (
        workload.name,
        *((one.name, one.instances > 1, one.adjacent) for one in workload.regions),
        *groups,
        str(workload.params),
        *(point.mechanism, point.variant, point.page, point.offset, point.access, point.write_fraction, point.populate),
        *(
            point.topology,
            point.placement,
            cell.engine,
            cell.host,
            cell.machine,
            cell.cost,
            cell.seed,
            cell.extrapolated,
        ),
    )


def _make(touch: Touch) -> Any:
    """What a touch is made of, its numbers aside."""
    sets = (touch.touched, touch.written, touch.read)
    same = (touch.written is touch.touched, touch.read is touch.touched)
    return touch.region, touch.stride > 0, same, tuple(tuple(run.whole for run in pages.runs) for pages in sets)


def _stacked(cells: Sequence[Cell], partings: int = 0) -> Alike:
    first = cells[0].point
    if len(cells) == 1:
        return Alike((cells[0],), first)
    patterns: dict[Any, list[Cell]] = {}
    for cell in cells:
        workload = cell.point.workload
        touches = (id(touch) for group in workload.groups for cohort in group.cohorts for touch in cohort.touches)
        patterns.setdefault((*map(_region_numbers, workload.regions), *touches), []).append(cell)
    rows = list(patterns.values())
    width = max(map(len, rows))
    ordered = tuple(cell for row in rows for cell in row)
    places = np.array([at * width + place for at, row in enumerate(rows) for place in range(len(row))], np.int64)
    # Short rows are filled up with their last cell, so that the array is whole.
    counts = np.array([[_processes(cell.point.workload) for cell in row] + [_processes(row[-1].point.workload)] *
                       (width - len(row)) for row in rows], np.int64)  # fmt: skip
    stacked = _workload(first.workload, [row[0].point.workload for row in rows], counts)
    return Alike(ordered, replace(first, workload=stacked), (len(rows), width), places, partings)


def _region_numbers(region: Region) -> tuple[int, int]:
    return region.size, region.instances


def _processes(workload: Workload) -> list[int]:
    return [cohort.processes for group in workload.groups for cohort in group.cohorts]


def _workload(first: Workload, rows: Sequence[Workload], counts: npt.NDArray[np.int64]) -> Workload:
    """A workload like the first with the numbers of all."""
    numbers = np.array([_numbers(one) for one in rows], np.int64).T
    same = (numbers == numbers[:, :1]).all(axis=1).tolist()
    columns = iter(
        [
            row[0].item() if alike else row[:, None].view(Many)
            for row, alike in zip(np.ascontiguousarray(numbers), same, strict=True)
        ]
    )

    def take() -> int:
        return cast(int, next(columns))

    cohort_counts = iter(np.moveaxis(counts, 2, 0))
    regions = tuple(replace(one, size=take(), instances=take()) for one in first.regions)
    groups = tuple(
        replace(
            group,
            cohorts=tuple(
                Cohort(many(next(cohort_counts)), tuple(_touch(touch, take) for touch in cohort.touches))
                for cohort in group.cohorts
            ),
        )
        for group in first.groups
    )
    return replace(first, regions=regions, groups=groups)


def _touch(touch: Touch, take: Callable[[], int]) -> Touch:
    stride = take()
    touched = _pages(touch.touched, take)
    written = touched if touch.written is touch.touched else _pages(touch.written, take)
    read = touched if touch.read is touch.touched else _pages(touch.read, take)
    return Touch(touch.region, touched, written, read, stride)


def _pages(pages: PageSet, take: Callable[[], int]) -> PageSet:
    return PageSet(tuple(Run(*(take() for _ in range(8))) for _ in pages.runs))


def _numbers(workload: Workload) -> list[int]:
    """Every number of a workload but those of its processes, in the order in which `_workload` takes them."""
    found = [number for region in workload.regions for number in _region_numbers(region)]
    for group in workload.groups:
        for cohort in group.cohorts:
            for touch in cohort.touches:
                found.append(touch.stride)
                sets = [touch.touched]
                sets += [pages for pages in (touch.written, touch.read) if pages is not touch.touched]
                for pages in sets:
                    for run in pages.runs:
                        found += (run.first, run.step, run.length, run.low, run.high, run.begin, run.end, run.seed)
    return found
