"""How many minor faults a touch takes: exact for the order in which the real engine touches.

The order: every process writes its written pages (ascending), then every process reads its read pages (ascending); where data is
not there beforehand, one process after the other. The rules, each seen on a running kernel:

- a write fault maps one page;
- a read fault of page-cache data that is there maps a window around it (`Extent.window`), aligned in virtual address; the first
  window of a mapping starts no earlier than the mapping and still reaches a whole window on, never past the end of a PTE table
  (mm/memory.c, `do_fault_around`);
- a hole costs a fault per page, also for reads;
- a huge leaf is filled by one fault;
- where any fault fills a unit (`Extent.fill`), every process takes one per unit that it touches, whoever filled it;
- with shared tables the first toucher's faults serve all.
"""

from typing import cast

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.many import alone, each, each_once, remembered
from mshare_bench.domain.pages import PageSet, union_intervals
from mshare_bench.domain.union import Copies, union_spans
from mshare_bench.domain.workload import Cohort, Touch, Workload
from mshare_bench.mechanisms.contract import Extent, Traits
from mshare_bench.sim.tables import Mapped, clip, cohorts, per_process, union_of

__all__ = ["minor_faults"]

_Rows = npt.NDArray[np.int64]


def minor_faults(
    workload: Workload, mapped: tuple[Mapped, ...], geometry: Geometry, traits: Traits, populated: bool
) -> dict[str, int]:
    """Count the minor faults of all processes while they touch, by region.

    Parameters
    ----------
    populated
        Whether the data is there before anybody touches it.
    """
    totals = {}
    for one in mapped:
        users = [
            (cohort, touch)
            for cohort in cohorts(workload)
            for touch in cohort.touches
            if touch.region == one.placed.region.name
        ]
        faults = 0
        for extent in one.extents:
            if extent.fill:
                faults += _filling(one, extent, users, geometry)
            elif extent.page > geometry.page:
                faults += _huge(workload, one, extent, users, geometry, traits)
            elif traits.one_mm or Level.PTE in extent.shared:
                faults += _once(one, extent, users, geometry, traits, populated) * one.placed.region.instances
            else:
                faults += _each(one, extent, users, geometry, traits, populated)
        totals[one.placed.region.name] = faults
    if traits.retried:
        totals[mapped[0].placed.region.name] -= workload.processes - 1
    return totals


_Users = list[tuple[Cohort, Touch]]


def _filling(one: Mapped, extent: Extent, users: _Users, geometry: Geometry) -> int:
    """One fault per unit and process."""
    return sum(
        per_process(
            touch,
            clip(touch.touched, extent, geometry),
            one.origin(geometry),
            extent.fill // geometry.page,
            cohort.processes,
        )
        for cohort, touch in users
    )


def _huge(workload: Workload, one: Mapped, extent: Extent, users: _Users, geometry: Geometry, traits: Traits) -> int:
    """One fault per huge page, and with shared PMD tables one per slot for every process after the first."""
    origin, span = one.origin(geometry), extent.page // geometry.page
    shared = extent.shared and not traits.one_mm
    if not shared and not traits.one_mm:
        return sum(
            per_process(touch, clip(touch.touched, extent, geometry), origin, span, cohort.processes)
            for cohort, touch in users
        )
    touched = union_of(workload, one.placed.region.name, "touched", extent, geometry)
    once = union_spans(touched, origin, span).count * one.placed.region.instances
    if traits.one_mm or Level.PUD in extent.shared:
        return once
    # The kernel's own sharing of PMD pages: finding the shared table is a minor fault, one per slot and process.
    slot = geometry.span(Level.PMD) // geometry.page
    slots = sum(
        per_process(touch, clip(touch.touched, extent, geometry), origin, slot, cohort.processes)
        for cohort, touch in users
    )
    return once + slots - union_spans(touched, origin, slot).count * one.placed.region.instances


def _once(one: Mapped, extent: Extent, users: _Users, geometry: Geometry, traits: Traits, populated: bool) -> int:
    """Faults of all processes together on tables that all share."""
    origin, window = one.origin(geometry), extent.window // geometry.page
    written, read = (_copies(users, extent, geometry, which) for which in ("written", "read"))
    if traits.data == "copy_on_write":
        # A page that a process writes is its own: a fault for each of them, and what is read is still shared.
        copies = sum(
            per_process(touch, clip(touch.written, extent, geometry), origin, 1, cohort.processes)
            for cohort, touch in users
        )
        return copies + union_spans(read, origin, window).count
    once = union_spans(written, origin, 1).count
    if len(users) == 1 and not users[0][1].stride:
        reads = clip(users[0][1].read, extent, geometry)
        return once + (_windows(reads, extent, origin, geometry) if populated else reads.count)
    return once + union_spans(read, origin, window if populated else 1, written).count


def _each(one: Mapped, extent: Extent, users: _Users, geometry: Geometry, traits: Traits, populated: bool) -> int:
    """Faults of processes with tables of their own."""
    origin = one.origin(geometry)
    present: _Rows | None = None
    if not populated and traits.data != "private":
        present = _listed(_copies(users, extent, geometry, "written"))
    total = 0
    for cohort, touch in users:
        written, read = clip(touch.written, extent, geometry), clip(touch.read, extent, geometry)
        total += per_process(touch, written, origin, 1, cohort.processes)
        if present is None:
            total += _windows(read, extent, origin, geometry, touch.stride, cohort.processes)
            continue
        # The first process finds holes; those after it, with the same pages, find everything there.
        alone(touch, cohort.processes if touch.stride else 0, one)
        for index in range(cohort.processes if touch.stride else 1):
            own = read.shift(touch.stride * index)
            holes = _without(own.intervals(0, 1), present)
            total += _with_holes(own, holes, extent, origin, geometry)
            present = union_intervals([present, holes])
        if not touch.stride:
            total += _windows(read, extent, origin, geometry) * (cohort.processes - 1)
    return total


def _windows(
    read: PageSet, extent: Extent, origin: int, geometry: Geometry, stride: int = 0, processes: int = 1
) -> int:
    """Read faults on data that is there, over the processes of a cohort."""
    window, table = extent.window // geometry.page, geometry.span(Level.PTE) // geometry.page
    total = per_process(Touch("", read, read, read, stride), read, origin, window, processes)
    # Only the first window of a mapping that does not start with a window is another one.
    if extent.start or not np.any(origin % window):
        return total
    if not stride:
        return total - cast(int, each_once(_reaches_on, read, origin, window, table)) * processes
    return total - cast(int, each(_reaching_on, read, origin, window, table, stride, processes))


def _reaching_on(read: PageSet, origin: int, window: int, table: int, stride: int, processes: int) -> int:
    """Processes of a cohort with a slice each whose first fault reaches on; those at the start of the mapping may."""
    first = range(min(processes, 2 * window // stride + 1))
    return sum(_reaches_on(read.shift(stride * index), origin, window, table) for index in first)


def _reaches_on(read: PageSet, origin: int, window: int, table: int) -> int:
    """1 where the first fault of the mapping saves the one of the second window.

    It reaches `window` pages on from the start of the mapping, but not past its PTE table.
    """
    phase = origin % window
    if not phase:
        return 0
    reach = min(window, (origin // table + 1) * table - origin)
    head = _head(read, 2 * window - phase)
    first, second = head[head < window - phase], head[head >= window - phase]
    return int(bool(len(first) and len(second) and int(second[-1]) < reach))


@remembered(maxsize=1 << 14)
def _head(pages: PageSet, stop: int) -> npt.NDArray[np.int64]:
    """The few pages before `stop`, for which a whole block of a random set has to be drawn."""
    return pages.clip(0, stop).pages()


def _with_holes(read: PageSet, holes: _Rows, extent: Extent, origin: int, geometry: Geometry) -> int:
    """Read faults of one process where some of the pages are not there: each hole, and each window entered on a present page."""
    missing = _size(holes)
    if missing == 0:
        return _windows(read, extent, origin, geometry)
    if missing == read.count:
        return missing
    pages = read.pages()
    is_hole = np.zeros(len(pages), bool)
    for start, end in holes:
        is_hole[np.searchsorted(pages, start) : np.searchsorted(pages, end, side="right")] = True
    heads = np.flatnonzero(np.diff((pages + origin) // (extent.window // geometry.page), prepend=-1))
    return missing + int(np.count_nonzero(~is_hole[heads]))


def _copies(users: _Users, extent: Extent, geometry: Geometry, which: str) -> list[Copies]:
    """Sets whose union is what any process writes, or reads, in the extent."""
    return [
        Copies(clip(getattr(touch, which), extent, geometry), touch.stride, cohort.processes if touch.stride else 1)
        for cohort, touch in users
    ]


def _listed(sets: list[Copies]) -> _Rows:
    """Pages of a union as merged rows."""
    return union_intervals([one.pages.intervals(one.stride * at, 1) for one in sets for at in range(one.count)])


def _size(rows: _Rows) -> int:
    return int((rows[:, 1] - rows[:, 0] + 1).sum()) if len(rows) else 0


def _without(rows: _Rows, other: _Rows) -> _Rows:
    """Rows less other rows; both merged and ascending."""
    if not len(rows) or not len(other):
        return rows
    # Events of both sets in one ascending order; a page is kept where `rows` covers it and `other` does not.
    points = np.concatenate([rows[:, 0], rows[:, 1] + 1, other[:, 0], other[:, 1] + 1])
    inside = np.repeat([1, -1, 0, 0], [len(rows), len(rows), len(other), len(other)])
    masked = np.repeat([0, 0, 1, -1], [len(rows), len(rows), len(other), len(other)])
    order = np.argsort(points, kind="stable")
    points, keep = points[order], (np.cumsum(inside[order]) > 0) & (np.cumsum(masked[order]) == 0)
    starts, ends = points[:-1][keep[:-1]], points[1:][keep[:-1]] - 1
    kept = ends >= starts
    return union_intervals([np.stack([starts[kept], ends[kept]], axis=1)])
