"""What the processes of a real program have in their page tables, read from outside.

Of each: the kernel's count (``VmPTE``), and which 2 MiB stretches of its address space are populated, those of the watched
mappings apart from all others. From the first follows what was measured; from the second the *access pattern*, as a workload
that the simulator can count (:func:`observed_workload`). Limits are those of :mod:`.counters.pagemap`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.application import MappedFile
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.pages import EMPTY, PageSet, Run
from mshare_bench.domain.workload import SLOT, Cohort, ProcessGroup, Region, Touch, Workload
from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.faults import faults
from mshare_bench.real.counters.pagemap import Pagemap, ScanBuffer, open_pagemap
from mshare_bench.real.counters.procfs import read_process_file
from mshare_bench.real.counters.smaps import mappings
from mshare_bench.real.counters.vmpte import vm_bytes

__all__ = ["ObjectUse", "Reading", "mapped_files", "observe", "observed_workload", "resident_bytes", "tables_of"]

_Addresses = NDArray[np.int64]
_NONE = np.empty(0, np.int64)
_LIMIT = 1 << 15
_ATTEMPTS = 5
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class ObjectUse:
    """What one process has of one watched object.

    Attributes
    ----------
    slots
        Lowest populated address of each 2 MiB of address space.
    positions
        The same as positions in the object, bytes.
    huge
        Whether a huge page is there, of hugetlb or as the kernel has the file in its cache: then there is no PTE table.
    mapped_bytes
        Bytes of its mappings.
    start, end
        Addresses between which they lie.
    """

    slots: _Addresses
    positions: _Addresses
    huge: NDArray[np.bool_]
    mapped_bytes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one moment.

    Attributes
    ----------
    pid, vmpte_bytes, minor_faults
        The process, and two counts of the kernel.
    objects
        Watched objects by name.
    others, other_huge
        Lowest populated address of each 2 MiB of all other mappings: those in base pages, and those in huge ones.
    """

    pid: int
    vmpte_bytes: int
    minor_faults: int
    objects: Mapping[str, ObjectUse]
    others: _Addresses
    other_huge: _Addresses

    @property
    def huge_slots(self) -> _Addresses:
        """Places of the watched objects that are in huge pages."""
        return np.concatenate([_NONE, *(one.slots[one.huge] for one in self.objects.values())])

    @property
    def slots(self) -> _Addresses:
        """Populated places of all watched objects, ascending."""
        return np.sort(np.concatenate([_NONE, *(one.slots for one in self.objects.values())]))

    def watched_tables(self, geometry: Geometry = X86_64) -> tuple[int, ...]:
        """Tables of each level that are there because of the watched mappings alone: all less those that others need."""
        _, others, all_ = self._counts(geometry)
        return tuple(whole - other for whole, other in zip(all_, others, strict=True))

    def tables_anyway(self, geometry: Geometry = X86_64) -> tuple[int, ...]:
        """Tables of each level that the watched mappings need and that are there anyway, for others."""
        own, others, all_ = self._counts(geometry)
        return tuple(one + other - whole for one, other, whole in zip(own, others, all_, strict=True))

    def _counts(self, geometry: Geometry) -> tuple[tuple[int, ...], ...]:
        large = self.huge_slots
        small = np.setdiff1d(self.slots, large)
        own, others = tables_of(small, large, geometry), tables_of(self.others, self.other_huge, geometry)
        both = tables_of(np.concatenate([self.others, small]), np.concatenate([self.other_huge, large]), geometry)
        return own, others, both


def tables_of(small: _Addresses, huge: _Addresses, geometry: Geometry = X86_64) -> tuple[int, ...]:
    """Count the tables of each level, leaves first, that populated places need; huge pages need none of the lowest level."""
    both = np.concatenate([small, huge])
    levels = ((small if level == 0 else both) // span for level, span in enumerate(geometry.spans))
    return tuple(len(np.unique(level)) for level in levels)


def mapped_files(pid: int) -> list[MappedFile]:
    """List the mappings of a process, by address.

    Raises
    ------
    CellFailed
        When it has ended.
    """
    data = read_process_file(pid, "maps")
    if not data:
        raise CellFailed(f"process {pid} ended before its mappings were read")
    found = []
    for line in data.decode("utf-8", "replace").splitlines():
        parts = line.split(maxsplit=5)
        start, _, end = parts[0].partition("-")
        path = parts[5] if len(parts) > 5 else ""
        found.append(
            MappedFile(int(start, 16), int(end, 16), int(parts[2], 16), parts[1][3] == "s", int(parts[4]), path)
        )
    return found


def observe(pids: Sequence[int], watches: Callable[[MappedFile], bool], geometry: Geometry = X86_64) -> list[Reading]:
    """Read processes that are there, each again until it stands still, a few times at most.

    Parameters
    ----------
    pids
        The processes.
    watches
        Whether a mapping is watched.

    Raises
    ------
    CellFailed
        When one has ended.
    CapabilityError
        When one may not be read.
    """
    buffer = ScanBuffer()
    found = []
    for pid in pids:
        for attempt in range(_ATTEMPTS):
            count = int(vm_bytes([pid])[0])
            try:
                with open_pagemap(f"/proc/{pid}/pagemap", buffer) as pagemap:
                    one = _reading(pid, count, int(faults([pid]).minor[0]), pagemap, watches, geometry)
            except (FileNotFoundError, ProcessLookupError):
                raise CellFailed(f"process {pid} ended while it was read") from None
            if int(vm_bytes([pid])[0]) == count:
                break
            time.sleep(_PAUSE * (attempt + 1))  # it was still at work: count and places would be of two moments
        found.append(one)
    return found


def _reading(
    pid: int, vmpte: int, minor: int, pagemap: Pagemap, watches: Callable[[MappedFile], bool], geometry: Geometry
) -> Reading:
    span = geometry.spans[0]
    objects: dict[str, list[ObjectUse]] = {}
    small, large = [_NONE], [_NONE]
    for one in mapped_files(pid):
        if one.start >= geometry.address_space:  # [vsyscall]
            continue
        slots, marks = _populated(pagemap, one, span)
        private = one.inode == 0 and not one.shared  # a huge page of it has a table put by for its split
        if watches(one):
            use = ObjectUse(slots, slots - one.start + one.offset, marks & (not private), one.size, one.start, one.end)
            objects.setdefault(one.path, []).append(use)
        elif private:
            small.append(slots)
        else:
            small.append(slots[~marks])
            large.append(slots[marks])
    merged = {name: _merged(uses, span) for name, uses in objects.items()}
    return Reading(pid, vmpte, minor, merged, np.concatenate(small), np.concatenate(large))


def _populated(pagemap: Pagemap, one: MappedFile, span: int) -> tuple[_Addresses, NDArray[np.bool_]]:
    buffer = pagemap.buffer
    begin, at = buffer.used, one.start
    while at < one.end:
        at = pagemap.first_pages(at, one.end, span, 0, _LIMIT)
    rows = buffer.rows[begin : buffer.used].copy()
    buffer.used = begin
    return rows[:, 0], rows[:, 2] != 0


def _merged(uses: Sequence[ObjectUse], span: int) -> ObjectUse:
    """Several mappings of one object (a library's segments) as one: a table that they share once."""
    slots = np.concatenate([one.slots for one in uses])
    _, first = np.unique(slots // span, return_index=True)
    positions = np.concatenate([one.positions for one in uses])
    huge = np.concatenate([one.huge for one in uses])
    size = sum(one.mapped_bytes for one in uses)
    start, end = min(one.start for one in uses), max(one.end for one in uses)
    return ObjectUse(slots[first], positions[first], huge[first], size, start, end)


def observed_workload(
    declared: Workload, groups: Mapping[str, Sequence[Reading]], *, by_object: bool, geometry: Geometry = X86_64
) -> tuple[Workload, int]:
    """Make the workload that was observed: one region, and of each process the places that it has populated.

    Parameters
    ----------
    declared
        The workload that the program was run for; its name and parameters stay.
    groups
        Readings by process group.
    by_object
        Whether places count from the start of each object, put one behind the other, as a window that all share would have
        them; else they lie as the process has them mapped.

    Returns
    -------
    tuple
        The workload, and the `offset` at which its region lies in every process.

    Raises
    ------
    CapabilityError
        When no process has anything of what was watched.
    """
    page, span = geometry.page, geometry.spans[1]
    readings = [one for group in groups.values() for one in group]
    if not any(len(one.slots) for one in readings):
        raise CapabilityError(f"workload={declared.name}: no process has touched what was watched")
    # In huge pages tables may be shared where a mapping holds a whole span of them: where it begins and ends matters then.
    whole = not by_object and all(len(one.huge_slots) == len(one.slots) for one in readings)
    bases = {id(one): min(use.start for use in one.objects.values()) if whole else _base(one, span) for one in readings}
    starts = {bases[id(one)] for one in readings if len(one.slots)}
    offset = 0 if by_object or len({start % SLOT for start in starts}) > 1 else starts.pop() % SLOT
    place = _object_places(readings, geometry) if by_object else {}
    made, end = [], 0
    for name, members in groups.items():
        cohorts: dict[bytes, tuple[int, _Addresses]] = {}
        for one in members:
            pages = _positions(one, place) if by_object else (one.slots - bases[id(one)]) // page
            if len(pages):
                end = max(end, int(pages[-1]) + 1)
                if whole:
                    end = max(end, (max(use.end for use in one.objects.values()) - bases[id(one)]) // page)
            count, _ = cohorts.get(pages.tobytes(), (0, pages))
            cohorts[pages.tobytes()] = (count + 1, pages)
        made.append((name, list(cohorts.values())))
    size = -(-end * page // geometry.spans[0]) * geometry.spans[0]
    region = replace(declared.region(declared.main), size=size, instances=1, adjacent=False)
    return replace(
        declared,
        regions=(region,),
        groups=tuple(
            ProcessGroup(name, name, tuple(_cohort(region, *one) for one in cohorts)) for name, cohorts in made
        ),
    ), offset


def _cohort(region: Region, processes: int, pages: _Addresses) -> Cohort:
    touched = _page_set(pages)
    return Cohort(processes, (Touch(region.name, touched, EMPTY, touched),))


def _page_set(pages: _Addresses) -> PageSet:
    """Ascending pages as runs of equal steps."""
    if not len(pages):
        return EMPTY
    runs, at = [], 0
    steps = np.diff(pages)
    while at < len(pages):
        stop = at + 1
        if stop < len(pages):
            same = np.flatnonzero(steps[at:] != steps[at])
            stop = at + 1 + (int(same[0]) if len(same) else len(pages) - 1 - at)
        step = int(steps[at]) if stop - at > 1 else 1
        count = stop - at
        runs.append(Run(int(pages[at]), step, count, 0, count, 0, count))
        at = stop
    return PageSet(tuple(runs))


def _base(one: Reading, span: int) -> int:
    slots = one.slots
    return int(slots[0]) // span * span if len(slots) else 0


def _object_places(readings: Sequence[Reading], geometry: Geometry) -> dict[str, int]:
    """Where each object starts when all are put one behind the other, in pages, each at a huge page's boundary."""
    ends: dict[str, int] = {}
    for one in readings:
        for name, use in one.objects.items():
            if len(use.positions):
                ends[name] = max(ends.get(name, 0), int(use.positions.max()) + geometry.page)
    places, at = {}, 0
    for name, end in ends.items():
        places[name] = at // geometry.page
        at += -(-end // geometry.spans[0]) * geometry.spans[0]
    return places


def _positions(one: Reading, place: Mapping[str, int], page: int = X86_64.page) -> _Addresses:
    parts = [place[name] + use.positions // page for name, use in one.objects.items() if len(use.positions)]
    return np.unique(np.concatenate([_NONE, *parts]))


def resident_bytes(pids: Sequence[int], watches: Callable[[MappedFile], bool]) -> int:
    """Bytes of the watched mappings that are in memory, each page once: proportional shares, added up over the processes.

    Huge pages of hugetlb have no proportional share in ``smaps``: of them the largest process counts.
    """
    shares, largest = 0, 0
    for pid in pids:
        watched = {one.start for one in mapped_files(pid) if watches(one)}
        sizes = [one.sizes for one in mappings(pid) if one.start in watched]
        shares += sum(one.get("Pss", 0) for one in sizes)
        largest = max(largest, sum(one.get("Shared_Hugetlb", 0) + one.get("Private_Hugetlb", 0) for one in sizes))
    return shares + largest
