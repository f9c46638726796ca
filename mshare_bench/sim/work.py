"""What every process does in each phase, as exact counts of the steps that unit costs price.

Processes of a cohort do the same, but for two things: the first who touches data that is not there yet fills it in, and the first
who touches a table that all share builds it. So a cohort is one or two *shares*: its first process, and the others. Ranks
with a slice each (`Touch.stride`) are one share with the mean of their counts.

The order of the phases and what each process does in them is that of the real engine (`mshare_bench.real.programs`).
"""

from dataclasses import dataclass

import numpy as np

from mshare_bench.domain.geometry import X86_64, Geometry, Level
from mshare_bench.domain.many import larger, remembered, smaller
from mshare_bench.domain.pages import PageSet
from mshare_bench.domain.workload import Cohort, Touch
from mshare_bench.mechanisms.contract import Extent, Traits
from mshare_bench.sim.accounting import Setting
from mshare_bench.sim.tables import Mapped, clip, same_span

__all__ = ["WORK_PHASES", "Far", "Share", "Work", "shares_of"]

WORK_PHASES = ("attach", "touch", "fork", "protect", "unmap", "exit")

_LINE = 64
_DESCRIPTOR = 64
"""Bytes of a frame's descriptor, `struct page`: one cache line."""
_ENTRY = 8


@dataclass(frozen=True, slots=True)
class Far:
    """Pages whose cost rises once what is walked over no longer fits into the caches.

    Attributes
    ----------
    cost
        Name of the unit cost that is added per page.
    pages
        How many.
    footprint
        Bytes of cache lines that the process walks over before one of them comes round again.
    everyone
        Bytes of tables that all processes together walk over meanwhile, which come on top.
    """

    cost: str
    pages: float
    footprint: float
    everyone: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """Counts of one process in one phase: how many of each unit cost, and what depends on the caches."""

    counts: tuple[tuple[str, float], ...]
    far: tuple[Far, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """So many processes of a group that do the same work, one entry per phase of `WORK_PHASES`; None where it can't be done.

    `idle` names phases that these processes take no part in: on one address space one maps, protects and unmaps for all.
    """

    group: str
    processes: int
    phases: tuple[Work | None, ...]
    idle: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _State:
    """Whether data is there beforehand, and if so whether all of it is."""

    populated: bool
    whole: bool


class _Counts:
    """Counts that are still being added to."""

    __slots__ = ("counts", "far", "paths")

    def __init__(self, paths: dict[str, str]) -> None:
        self.counts: dict[str, float] = {}
        self.far: list[Far] = []
        self.paths = paths

    def add(self, name: str, count: float) -> None:
        # Also where it is none: times are added up in the order of the names, the same whatever the numbers are.
        own = self.paths.get(name, name)
        self.counts[own] = self.counts.get(own, 0.0) + count

    def work(self) -> Work:
        known = (one for one in self.counts.items() if np.ndim(one[1]) or one[1])
        return Work(tuple(known), tuple(self.far))


def shares_of(setting: Setting, geometry: Geometry = X86_64) -> tuple[Share, ...]:
    """Count the work of all processes of a point, as `mshare_bench.sim.accounting.setting_of` prepares it."""
    workload, mapped, traits = setting.workload, setting.mapped, setting.traits
    state = _State(setting.populated, setting.whole)
    by_name = {one.placed.region.name: one for one in mapped}
    seen: set[str] = set()
    shares: list[Share] = []
    parent_pending = traits.inherited is not None
    for group in workload.groups:
        for cohort in group.cohorts:
            count = cohort.processes
            first_does_more = any(touch.region not in seen and _first_differs(touch, by_name, traits, state)
                                  for touch in cohort.touches)  # fmt: skip
            if parent_pending:  # the parent is no child: it maps and touches beforehand
                parent_pending, count = False, count - 1
                if first_does_more:
                    seen |= {touch.region for touch in cohort.touches}
                    first_does_more = False
            if not count:
                seen |= {touch.region for touch in cohort.touches}
                continue  # of no cell anybody is left: those of which somebody is have parted from them
            if first_does_more:
                shares.append(_share(group.name, 1, cohort, by_name, geometry, traits, state, seen))
                count = count - 1
            seen |= {touch.region for touch in cohort.touches}
            if np.any(count):  # of some cells it may be none
                shares.append(_share(group.name, count, cohort, by_name, geometry, traits, state, seen))
    return tuple(shares)


def _first_differs(touch: Touch, by_name: dict[str, Mapped], traits: Traits, state: _State) -> bool:
    if touch.stride or traits.data == "private":
        return False
    shared = traits.one_mm or any(extent.shared for extent in by_name[touch.region].extents)
    return shared or not state.populated


def _share(
    group: str,
    processes: int,
    cohort: Cohort,
    by_name: dict[str, Mapped],
    geometry: Geometry,
    traits: Traits,
    state: _State,
    seen: set[str],
) -> Share:
    regions = tuple((by_name[touch.region], touch.region not in seen) for touch in cohort.touches)
    phases = _process(cohort.touches, regions, geometry, traits, state)
    follows = traits.one_mm and bool(seen)
    return Share(group, processes, phases, frozenset({"attach", "protect", "unmap"}) if follows else frozenset())


@remembered(maxsize=4096)
def _process(
    touches: tuple[Touch, ...],
    regions: tuple[tuple[Mapped, bool], ...],
    geometry: Geometry,
    traits: Traits,
    state: _State,
) -> tuple[Work | None, ...]:
    """Work of one process by phase; `regions` holds, of each touch, the region and whether the process is its first."""
    sums = {phase: _Counts(dict(traits.paths)) for phase in WORK_PHASES}
    for counts in sums.values():
        counts.add("timer", 1)
    last: dict[Level, int] = {}
    for touch, (one, first) in sorted(zip(touches, regions, strict=True), key=lambda pair: pair[1][0].placed.address):
        _region(sums, touch, one, geometry, traits, state, first, last, len(touches))
    sums["fork"].add("fork", 1)
    sums["exit"].add("task_exit" if traits.one_mm else "process_exit", 1)
    refused = frozenset() if traits.protectable else frozenset({"protect"})
    return tuple(None if phase in refused else sums[phase].work() for phase in WORK_PHASES)


def _region(
    sums: dict[str, _Counts],
    touch: Touch,
    one: Mapped,
    geometry: Geometry,
    traits: Traits,
    state: _State,
    first: bool,
    last: dict[Level, int],
    one_of: int,
) -> None:
    """Add the work of one process on one region; `last` holds the last table of each level so far, which may go on here."""
    parts = [_extent(touch, one, extent, geometry, traits, state, first, last) for extent in one.extents]
    present = sum(part.present for part in parts)
    attach, touching, fork = sums["attach"], sums["touch"], sums["fork"]
    if traits.inherited is None:
        attach.add("vma_map", 1)
        for name in traits.advices:
            attach.add(name, 1)
        if traits.split_every:
            attach.add("vma_split", one.placed.region.size // traits.split_every)

    touched = touch.touched.count
    touching.add("access", touched)
    touching.far.append(Far("access_far", touched, touched * (_LINE + _ENTRY)))
    filled = sum(part.filled for part in parts)
    if filled:
        touching.far.append(Far("fault_far", filled, filled * (_LINE + _DESCRIPTOR + _ENTRY)))

    old = sum(part.old for part in parts)
    if old:
        # Entries are copied without their accessed bit, which the first access sets.
        touching.add("access_old", old)
        touching.far.append(Far("access_old_far", old, old * _LINE, old * _ENTRY))

    # A mapping without pages of its own is copied as a mapping; its pages fault again (mm/memory.c, `vma_needs_copy`).
    fork.add("vma_copy", 1)
    if traits.data != "shared" and (touch.written.count or traits.inherited is not None):
        copied = sum(part.ptes for part in parts)
        fork.add("table_copy", sum(part.upper_tables for part in parts))
        if traits.inherited == "shared":
            fork.add("table_share", sum(part.pte_tables for part in parts))
            if traits.accounted:
                fork.add("rss_account", copied)
        else:
            fork.add("pte_copy", copied)
            fork.add("huge_copy", sum(part.leaves for part in parts))
            fork.add("table_copy", sum(part.pte_tables for part in parts))
            fork.far.append(Far("fork_far", copied, copied * (_DESCRIPTOR + 2 * _ENTRY)))

    sums["protect"].add("vma_protect", 1)
    sums["unmap"].add("vma_unmap", 1)
    for part in parts:
        for phase, counts in (("touch", part.touch), ("protect", part.protect), ("unmap", part.unmap)):
            for name, count in counts.items():
                sums[phase].add(name, count)
    own, everyone = (present * _ENTRY, 0.0) if traits.one_mm else (0.0, present * _ENTRY)
    sums["exit"].far.append(Far("exit_far", 1 / max(1, one_of), own + touched * _LINE, everyone))
    sums["protect"].far.append(Far("protect_far", present, own, everyone))
    sums["unmap"].far.append(Far("unmap_far", present, own + present * _DESCRIPTOR, everyone))


@dataclass(slots=True)
class _Part:
    """What one extent adds.

    `filled` are pages mapped whose frames were there, `old` those whose entries fork copied; `ptes`, `leaves` and the tables are
    what a fork of private memory copies.
    """

    touch: dict[str, float]
    protect: dict[str, float]
    unmap: dict[str, float]
    present: float = 0.0
    filled: float = 0.0
    old: float = 0.0
    ptes: float = 0.0
    leaves: float = 0.0
    pte_tables: float = 0.0
    upper_tables: float = 0.0


def _extent(
    touch: Touch,
    one: Mapped,
    extent: Extent,
    geometry: Geometry,
    traits: Traits,
    state: _State,
    first: bool,
    last: dict[Level, int],
) -> _Part:
    origin = one.origin(geometry)
    written, read = clip(touch.written, extent, geometry), clip(touch.read, extent, geometry)
    touched = clip(touch.touched, extent, geometry)
    levels = {}
    for level in geometry.counted_levels:
        found = touched.spans(origin, geometry.span(level) // geometry.page)
        levels[level] = found.count - same_span(found.first, last.get(level))
        if found.last is not None:
            last[level] = found.last
    if traits.inherited in ("copied", "shared"):
        return _inherited(written, touched, levels, origin, geometry, traits)
    leaf = geometry.leaf_level(extent.page)
    shared = extent.shared if not traits.one_mm else frozenset(Level)
    builds = first or bool(touch.stride)
    own = {
        level: count
        for level, count in levels.items()
        if (level >= leaf or (extent.deposit and level == Level.PTE)) and (builds or level not in shared)
    }
    tables = 1.0 * sum(own.values())
    if extent.fill:
        part = _filling(touched, extent, origin, geometry, state, builds, Level.PTE in shared, first)
    elif leaf > Level.PTE:
        part = _huge(touched, extent, origin, geometry, traits, state, builds, shared, first)
    else:
        part = _base(written, read, extent, origin, geometry, traits, state, builds, shared, first)
        part.protect["table_scan"] = own.get(Level.PTE, 0)
        part.ptes = part.present
    if leaf == Level.PTE:
        part.pte_tables = own.get(Level.PTE, 0)
    part.upper_tables = tables - own.get(Level.PTE, 0)  # what a huge leaf deposits is part of its copy
    part.touch["table_allocate"] = tables
    part.unmap["table_free"] = tables
    if traits.link and not traits.one_mm and shared and not first:
        part.touch["fault_link"] = touched.spans(origin, traits.link // geometry.page).count
    return part


def _filling(
    touched: PageSet,
    extent: Extent,
    origin: int,
    geometry: Geometry,
    state: _State,
    builds: bool,
    shared: bool,
    first: bool,
) -> _Part:
    """Units that a fault maps whole: by linking their table, or by filling one of the process's own."""
    pages = extent.fill // geometry.page
    units = touched.spans(origin, pages).count
    part = _Part({}, {}, {}, present=0 if shared else units * pages)
    if shared:
        part.touch["fault_link"] = units
    else:
        part.touch |= {"fault_read": units, "pte_fill": units * (pages - 1)}
        part.unmap["pte_zap"] = units * pages
    if not state.populated and (first or builds):
        part.touch["frame_zero"] = units * pages
    return part


def _base(
    written: PageSet,
    read: PageSet,
    extent: Extent,
    origin: int,
    geometry: Geometry,
    traits: Traits,
    state: _State,
    builds: bool,
    shared: frozenset[Level],
    first: bool,
) -> _Part:
    """Base pages: write faults one page each, read faults a window each where the data is there."""
    writes, reads = written.count, read.count
    if Level.PTE in shared and not builds:
        return _Part({}, {}, {})
    if traits.data == "private":
        part = _Part({"fault_anonymous": writes, "frame_zero": writes}, {}, {}, present=writes)
        part.protect["pte_protect_anonymous"] = part.unmap["pte_zap_anonymous"] = writes
        return part
    holes = 0.0
    if not state.populated and (first or builds):
        holes = writes + reads
    window = extent.window // geometry.page
    pages = extent.length // geometry.page
    windows = read.spans(origin, window).count
    # A window maps what lies in it and is not mapped yet: written pages are.
    covered = smaller(1.0, windows * window / pages) if pages else 0.0
    mapped = larger(1.0 * reads, smaller(windows * window, pages) - writes * covered) if state.whole else 1.0 * reads
    if holes:
        part = _Part({"fault_hole": holes, "frame_zero": holes}, {}, {}, present=holes)
    else:
        part = _Part({"fault_read": windows, "pte_fill": mapped - windows}, {}, {}, present=writes + mapped)
        part.filled = part.present if traits.data == "shared" else mapped
    if traits.data == "copy_on_write":
        part.touch |= {"fault_copy": writes, "page_copy": writes}
        part.protect["pte_protect_anonymous"], part.unmap["pte_zap_anonymous"] = writes, writes
        part.protect["pte_protect"], part.unmap["pte_zap"] = part.present - writes, part.present - writes
    else:
        if not holes:
            part.touch["fault_write"] = writes
        part.protect["pte_protect"], part.unmap["pte_zap"] = part.present, part.present
    return part


def _huge(
    touched: PageSet,
    extent: Extent,
    origin: int,
    geometry: Geometry,
    traits: Traits,
    state: _State,
    builds: bool,
    shared: frozenset[Level],
    first: bool,
) -> _Part:
    """Huge leaves: one fault fills each; the kernel's own sharing of PMD pages leaves one fault per slot."""
    leaves = touched.spans(origin, extent.page // geometry.page).count
    frames = leaves * (extent.page // geometry.page)
    if traits.data == "private":
        part = _Part({"fault_huge_anonymous": leaves, "frame_zero": frames}, {}, {}, present=leaves, leaves=leaves)
        part.protect["huge_protect"], part.unmap["huge_zap_anonymous"] = leaves, leaves
        return part
    if shared and not builds:
        if traits.one_mm or traits.link:
            return _Part({}, {}, {})
        slots = touched.spans(origin, geometry.span(Level.PMD) // geometry.page).count
        return _Part({"fault_link": slots}, {"hugetlb_unshare": slots}, {})
    if state.populated or not (first or builds):
        part = _Part({"fault_huge": leaves}, {}, {}, present=leaves)
    else:
        part = _Part({"fault_huge_hole": leaves, "frame_zero": frames}, {}, {}, present=leaves)
    part.protect["huge_protect"], part.unmap["huge_zap"] = leaves, leaves
    return part


def _inherited(
    written: PageSet,
    touched: PageSet,
    levels: dict[Level, int],
    origin: int,
    geometry: Geometry,
    traits: Traits,
) -> _Part:
    """A child of a parent that has touched everything: a page that it writes is copied, a page that it reads is there."""
    writes, pages = written.count, touched.count
    part = _Part({"fault_copy": writes, "page_copy": writes}, {}, {}, present=pages)
    part.protect = {
        "pte_protect_copy": pages - writes,
        "pte_protect_anonymous": writes,
        "table_scan": levels[Level.PTE],
    }
    part.unmap = {"pte_zap_copy": pages - writes, "pte_zap_anonymous": writes, "table_free": sum(levels.values())}
    part.old = pages - writes
    part.ptes, part.pte_tables = pages, levels[Level.PTE]
    part.upper_tables = sum(count for level, count in levels.items() if level > Level.PTE)
    if traits.inherited == "shared":
        # Writing through a shared table takes a copy of it first: its entries, and the table itself.
        span = geometry.span(Level.PTE) // geometry.page
        own = written.spans(origin, span).count
        part.touch |= {"table_allocate": own, "pte_copy": own * pages / larger(1, levels[Level.PTE])}
        kept = own / larger(1, levels[Level.PTE])
        part.protect = {name: count * kept for name, count in part.protect.items()}
        part.unmap = {name: count * kept for name, count in part.unmap.items()}
        part.present = part.present * kept
    return part
