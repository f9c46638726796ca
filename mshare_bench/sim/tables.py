"""How many page-table pages a workload costs under a mechanism: exact, by level, a shared table counted once.

Tables of a level that a process needs are the spans of that level that hold a touched page. What a mechanism shares is
needed once for the union of all that is touched. Adjoining regions may meet in one table; it is counted with the region at
the lower address.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.geometry import X86_64, Geometry, Level
from mshare_bench.domain.many import remembered
from mshare_bench.domain.pages import PageSet, union_intervals
from mshare_bench.domain.union import Copies, union_spans
from mshare_bench.domain.workload import Cohort, Placed, Touch, Workload
from mshare_bench.mechanisms.contract import Extent, Traits

__all__ = [
    "Mapped",
    "Tables",
    "address_space",
    "clip",
    "cohorts",
    "count_common",
    "count_own",
    "count_tables",
    "links",
    "mappers",
    "per_process",
    "same_span",
    "union_of",
    "union_pages",
]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A region at its address, and how the mechanism maps it."""

    placed: Placed
    extents: tuple[Extent, ...]

    def origin(self, geometry: Geometry) -> int:
        """Number of the region's first page in the address space."""
        return self.placed.address // geometry.page


@dataclass(frozen=True, slots=True)
class Tables:
    """Table pages by level: PTE, PMD, PUD."""

    pte: int = 0
    pmd: int = 0
    pud: int = 0

    def __add__(self, other: "Tables") -> "Tables":
        return Tables(self.pte + other.pte, self.pmd + other.pmd, self.pud + other.pud)

    def times(self, copies: int) -> "Tables":
        """So many copies of them."""
        return Tables(self.pte * copies, self.pmd * copies, self.pud * copies)

    @property
    def pages(self) -> int:
        """All of them."""
        return self.pte + self.pmd + self.pud


def count_tables(
    workload: Workload, mapped: tuple[Mapped, ...], geometry: Geometry, traits: Traits
) -> dict[str, Tables]:
    """Count the table pages of every region, over all processes.

    On one address space every table exists once. Where a page that is written is copied, a process that writes through a
    shared table gets its own, and the path to it.

    Returns
    -------
    dict
        Tables by the name of the region.
    """
    counts = [count_common(workload, mapped, geometry, traits)]
    counts += [count_own(cohort, mapped, geometry, traits) for cohort in cohorts(workload)]
    return {one.placed.region.name: _sum(counts, one.placed.region.name) for one in mapped}


def count_common(
    workload: Workload, mapped: tuple[Mapped, ...], geometry: Geometry, traits: Traits
) -> dict[str, Tables]:
    """Count the table pages that all who map a region have in common, by region; one without any is left out."""
    return _by_level(geometry, lambda level: _shared(workload, mapped, geometry, level, traits))


def count_own(cohort: Cohort, mapped: tuple[Mapped, ...], geometry: Geometry, traits: Traits) -> dict[str, Tables]:
    """Count the table pages that the processes of a cohort have for themselves, over all of them, by region."""

    def of_level(level: Level) -> Iterator[tuple[str, int]]:
        if not traits.one_mm:
            yield from _private(cohort, mapped, geometry, level)
        if traits.data == "copy_on_write":
            yield from _unshared(cohort, mapped, geometry, level)

    return _by_level(geometry, of_level)


def _by_level(geometry: Geometry, count: Callable[[Level], Iterator[tuple[str, int]]]) -> dict[str, Tables]:
    found: dict[str, list[int]] = {}
    for level in geometry.counted_levels:
        for name, pages in count(level):
            found.setdefault(name, [0, 0, 0])[level] += pages
    return {name: Tables(*pages) for name, pages in found.items()}


def _sum(counts: list[dict[str, Tables]], name: str) -> Tables:
    return functools.reduce(Tables.__add__, (one[name] for one in counts if name in one), Tables())


def cohorts(workload: Workload) -> Iterator[Cohort]:
    """Every cohort of every group."""
    return (cohort for group in workload.groups for cohort in group.cohorts)


def mappers(workload: Workload, region: str) -> int:
    """Processes that map a region."""
    return sum(
        cohort.processes for cohort in cohorts(workload) if any(touch.region == region for touch in cohort.touches)
    )


def per_process(touch: Touch, pages: PageSet, origin: int, span: int, processes: int) -> int:
    """Spans that hold a page, summed over the processes of a cohort, each of which touches its own shifted set."""
    if not touch.stride:
        return pages.spans(origin, span).count * processes
    return pages.copies_spans(origin, span, touch.stride, processes)


def links(cohort: Cohort, mapped: tuple[Mapped, ...], geometry: Geometry, window: int) -> Iterator[tuple[str, int]]:
    """Windows of so many bytes that the processes of a cohort must link, by region."""
    yield from _walk(cohort, mapped, geometry, window // geometry.page, lambda extent: bool(extent.shared))


def union_of(
    workload: Workload, region: str, which: str, extent: Extent | None = None, geometry: Geometry = X86_64
) -> list[Copies]:
    """Sets whose union is what all processes have in `touched`, `written` or `read` of a region, or of one of its extents."""
    found = []
    for cohort in cohorts(workload):
        for touch in cohort.touches:
            if touch.region == region:
                pages: PageSet = getattr(touch, which)
                pages = pages if extent is None else clip(pages, extent, geometry)
                found.append(Copies(pages, touch.stride, cohort.processes) if touch.stride else Copies(pages))
    return found


def address_space(mapped: tuple[Mapped, ...], window: int) -> int:
    """Bytes of address space that one process gives to the regions; adjoining ones fill windows together."""
    total = chain = 0
    for one in mapped:
        if one.placed.previous is None:
            total, chain = total + _whole_windows(chain, window), 0
        chain += one.placed.region.size
    return total + _whole_windows(chain, window)


def _whole_windows(size: int, window: int) -> int:
    return -(-size // window) * window if window else size


def union_pages(workload: Workload, region: str) -> npt.NDArray[np.int64]:
    """Pages of a region that any process touches, as merged `[first, last]` rows; asks for memory in proportion."""
    return union_intervals(
        [
            one.pages.intervals(one.stride * index, 1)
            for one in union_of(workload, region, "touched")
            for index in range(one.count)
        ]
    )


def clip(pages: PageSet, extent: Extent, geometry: Geometry) -> PageSet:
    """Keep the pages that lie in the extent."""
    start, stop = extent.start // geometry.page, -(-(extent.start + extent.length) // geometry.page)
    # Most extents are the whole region.
    return pages if pages.within(start, stop) else _clipped(pages, start, stop)


@remembered(maxsize=4096)
def _clipped(pages: PageSet, start: int, stop: int) -> PageSet:
    return pages.clip(start, stop)


def _has(extent: Extent, level: Level, geometry: Geometry) -> bool:
    """Whether this extent has tables of that level: down to its leaf, and to the deposited PTE page of a huge leaf."""
    return level >= geometry.leaf_level(extent.page) or (extent.deposit and level == Level.PTE)


def _private(cohort: Cohort, mapped: tuple[Mapped, ...], geometry: Geometry, level: Level) -> Iterator[tuple[str, int]]:
    span = geometry.span(level) // geometry.page
    return _walk(
        cohort, mapped, geometry, span, lambda extent: level not in extent.shared and _has(extent, level, geometry)
    )


def _unshared(
    cohort: Cohort, mapped: tuple[Mapped, ...], geometry: Geometry, level: Level
) -> Iterator[tuple[str, int]]:
    """Shared tables that each process of the cohort writes through and so has for itself."""
    span = geometry.span(level) // geometry.page
    for one in mapped:
        for touch in cohort.touches:
            if touch.region == one.placed.region.name:
                for extent in one.extents:
                    if level in extent.shared:
                        written = clip(touch.written, extent, geometry)
                        yield touch.region, per_process(touch, written, one.origin(geometry), span, cohort.processes)


def _walk(
    cohort: Cohort, mapped: tuple[Mapped, ...], geometry: Geometry, span: int, wanted: Callable[[Extent], bool]
) -> Iterator[tuple[str, int]]:
    """Spans that each process of the cohort needs in the wanted extents, by region, summed over its processes."""
    touches = {touch.region: touch for touch in cohort.touches}
    last: int | None = None
    for one in mapped:
        touch = touches.get(one.placed.region.name)
        if touch is None:
            continue
        origin = one.origin(geometry)
        total = 0
        for extent in one.extents:
            if not wanted(extent):
                continue
            pages = clip(touch.touched, extent, geometry)
            found = pages.spans(origin, span)
            if not found.count:
                continue
            if touch.stride:
                total += per_process(touch, pages, origin, span, cohort.processes)
                continue
            total += (found.count - same_span(found.first, last)) * cohort.processes
            last = found.last
        yield one.placed.region.name, total


def same_span(first: int | None, last: int | None) -> int:
    """1 where both are the same span, else 0."""
    return 0 if first is None or last is None else first == last


def _shared(
    workload: Workload, mapped: tuple[Mapped, ...], geometry: Geometry, level: Level, traits: Traits
) -> Iterator[tuple[str, int]]:
    span = geometry.span(level) // geometry.page
    last: int | None = None
    for one in mapped:
        extents = tuple(
            extent
            for extent in one.extents
            if (traits.one_mm or level in extent.shared or (traits.host and extent.shared))
            and _has(extent, level, geometry)
        )
        if not extents:
            continue
        region = one.placed.region
        sets = [part for extent in extents for part in union_of(workload, region.name, "touched", extent, geometry)]
        found = union_spans(sets, one.origin(geometry), span)
        if found.count:
            yield region.name, (found.count - same_span(found.first, last)) * region.instances
            last = found.last
