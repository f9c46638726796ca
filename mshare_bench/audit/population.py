"""Which pages of an address space are mapped, asked for with as little reading of its tables as will do.

Reading every entry of every table is what makes ``smaps`` slow: 4 KiB of cold memory for each table. Here

* small mappings are scanned together, a large one by itself;
* where a large mapping turns out to be dense, the scan jumps: one page found in a table proves the table;
* where another process has mapped the same part of the same object in the same place, the pages found there are asked
  about first, all in one system call. Each page that is there proves its table, at one cache line a table. Whether the
  process has more tables than those shows in its ``VmPTE``, which the caller compares; if so, it asks again, thoroughly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.layout import Layout, Part
from mshare_bench.domain.geometry import Geometry
from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.pagemap import Pagemap, ScanBuffer, first_of_cells, open_pagemap, resident
from mshare_bench.real.counters.smaps import mappings

__all__ = ["Population", "Reader"]

_Addresses = NDArray[np.int64]

# Pages found before a look at how dense they are; the answer decides between scanning on and jumping.
_SAMPLE = 4096
# From this many pages a table on, finding only the first of each is quicker.
_DENSE = 32
_JUMPS = 512
# Guesses for a part that were wrong this often are not tried again.
_MISSES = 4
# Layouts of which the population is remembered.
_LAYOUTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Populated ranges of one address space, ascending and disjoint; a dense range may be cut to one page for each table.

    Attributes
    ----------
    start, end
        Bytes; shape (ranges,).
    huge
        Whether a huge page maps the range.
    guessed
        Whether pages were asked about that another process has, and there was room for more: true, but perhaps not all.
    """

    start: _Addresses
    end: _Addresses
    huge: NDArray[np.bool_]
    guessed: bool

    @property
    def fingerprint(self) -> tuple[bytes, bytes, bytes]:
        """Equal for equal populations."""
        return self.start.tobytes(), self.end.tobytes(), self.huge.tobytes()


@dataclass(slots=True)
class _Recalled:
    layout: Layout
    population: Population | None = None
    pages: _Addresses | None = None
    asked: int = 0
    vain: int = 0


class Reader:
    """Reads one address space after the other, and learns from each.

    Parameters
    ----------
    geometry
        Page-table geometry of this machine.
    scan
        Whether to use `PAGEMAP_SCAN`; None for what this kernel has.
    """

    def __init__(self, geometry: Geometry, *, scan: bool | None = None) -> None:
        self._span = geometry.spans[0]
        self._page = geometry.page
        self._scan = scan
        self._buffer = ScanBuffer()
        self._known: dict[tuple[int, ...], _Addresses] = {}
        self._misses: dict[tuple[int, ...], int] = {}
        # By the identity of a layout, which is kept with it: how often it was asked for and how often in vain, and what
        # was found for it.
        self._layouts: dict[int, _Recalled] = {}

    def open(self, folder: str) -> Pagemap:
        """Open the ``pagemap`` of a process; raises as `open_pagemap` does."""
        return open_pagemap(f"{folder}/pagemap", self._buffer, scan=self._scan)

    def learn(self, pid: int, layout: Layout, population: Population, pages: _Addresses) -> None:
        """Remember what a process with this layout has populated: others with the same are likely to have the same.

        Parameters
        ----------
        pid
            The process.
        layout, population
            Its mappings, and what was found.
        pages
            A page of each of its tables and mappings that has one.
        """
        there = resident(pid, pages) if len(pages) and not population.huge.any() else None
        recalled = self._layouts[id(layout)]
        # The few places that hold no page of memory (the vdso, the zero page) can't be asked about.
        if there is None or there.sum() < 0.8 * len(pages):
            recalled.vain = _MISSES
        else:
            recalled.population, recalled.pages = replace(population, guessed=True), pages[there]

    def curious(self, layout: Layout) -> bool:
        """Whether it would pay to `learn` what a process with this layout has: there are several, and they are alike."""
        recalled = self._layouts.get(id(layout))
        return recalled is not None and recalled.asked > 1 and recalled.vain < _MISSES and recalled.population is None

    def recall(self, pid: int, layout: Layout) -> Population | None:
        """Give what another process with the same layout has populated, if this one has a page in each place as well."""
        recalled = self._layouts.get(id(layout))
        if recalled is None:
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            recalled = self._layouts[id(layout)] = _Recalled(layout)
        recalled.asked += 1
        if recalled.population is None or recalled.pages is None:
            return None
        there = resident(pid, recalled.pages)
        if there is not None and there.all():
            return recalled.population
        recalled.vain += 1
        recalled.population = recalled.pages = None
        return None

    def read(self, pagemap: Pagemap, pid: int, layout: Layout, *, thorough: bool = False) -> Population:
        """Find what is populated.

        Parameters
        ----------
        pagemap
            Of the process, open.
        pid
            The process.
        layout
            Its mappings.
        thorough
            Look at everything; no guesses from other processes, and learn from this one anew.
        """
        proven = {} if thorough else self._proven(pid, layout.parts)
        guessed = False
        starts: list[_Addresses] = []
        ends: list[_Addresses] = []
        huge: list[NDArray[np.bool_]] = []
        # The file has 8 bytes for each page of a gap as well, the ioctl passes over gaps.
        parts = layout.parts if pagemap.tells_huge else _without_gaps(layout)
        for part in parts:
            pages = proven.get(part.start)
            if pages is not None:
                starts.append(pages)
                ends.append(pages + self._page)
                huge.append(np.zeros(len(pages), np.bool_))
                guessed = guessed or len(pages) < self._cells(part)
                continue
            first, last, marks = self._scan_part(pagemap, part)
            starts += first
            ends += last
            huge += marks
            if part.key is not None and (thorough or part.key not in self._known):
                self._learn(part, first, last, marks)
        if not starts:
            none = np.empty(0, np.int64)
            return Population(none, none, np.empty(0, np.bool_), False)
        start, end = np.concatenate(starts), np.concatenate(ends)
        population = Population(start, end, np.concatenate(huge), guessed)
        if thorough and not pagemap.tells_huge:
            return self._mark_huge(pagemap, pid, layout, population)
        return population

    def _proven(self, pid: int, parts: Sequence[Part]) -> dict[int, _Addresses]:
        """Pages of large mappings, by the mapping's start, that are as another process has them."""
        asked = [(part, self._known[part.key]) for part in parts if part.key is not None and part.key in self._known]
        if not asked:
            return {}
        addresses = np.concatenate([part.start + pages for part, pages in asked])
        there = resident(pid, addresses)
        if there is None:
            return {}
        proven: dict[int, _Addresses] = {}
        at = 0
        for part, pages in asked:
            until = at + len(pages)
            if there[at:until].all():
                proven[part.start] = addresses[at:until]
            else:
                self._forget(part)
            at = until
        return proven

    def _cells(self, part: Part) -> int:
        """Most pages that can be found in a mapping when one is looked for in each table."""
        cells = (part.end - 1) // self._span - part.start // self._span + 1
        if part.phase:
            cells += (part.end - 1 - part.phase) // self._span - (part.start - 1 - part.phase) // self._span
        return cells

    def _forget(self, part: Part) -> None:
        assert part.key is not None
        self._misses[part.key] = self._misses.get(part.key, 0) + 1
        del self._known[part.key]

    def _learn(
        self, part: Part, first: list[_Addresses], last: list[_Addresses], marks: list[NDArray[np.bool_]]
    ) -> None:
        assert part.key is not None
        self._known.pop(part.key, None)
        # Where huge pages are, a page that is there proves no PTE table; with nothing there, there is nothing to ask.
        if not first or any(mark.any() for mark in marks) or self._misses.get(part.key, 0) >= _MISSES:
            return
        pages = first_of_cells(np.concatenate(first), np.concatenate(last), self._span, part.phase)
        self._known[part.key] = pages - part.start

    def _scan_part(
        self, pagemap: Pagemap, part: Part
    ) -> tuple[list[_Addresses], list[_Addresses], list[NDArray[np.bool_]]]:
        starts: list[_Addresses] = []
        ends: list[_Addresses] = []
        huge: list[NDArray[np.bool_]] = []
        at, limit = part.start, 0 if part.key is None else _SAMPLE
        while at < part.end:
            found = pagemap.populated(at, part.end, limit)
            at = found.next
            if not len(found.start):
                continue
            starts.append(found.start)
            ends.append(found.end)
            huge.append(found.huge)
            if found.huge.any():
                limit = 0  # few entries, many pages: no need to stop and look
            elif limit and at < part.end:
                tables = len(first_of_cells(found.start, found.end, self._span))
                if found.pages < tables * _DENSE:
                    limit *= 4
                    continue
                at = self._next_cell(at, part)
                pages, marks, at = pagemap.first_pages(at, part.end, self._span, part.phase, _JUMPS)
                starts.append(pages)
                ends.append(pages + self._page)
                huge.append(marks)
        return starts, ends, huge

    def _next_cell(self, address: int, part: Part) -> int:
        # The scan stopped in the middle of a cell of which it has found pages: go on with the next one.
        last = address - self._page
        after = last - last % self._span + self._span
        if part.phase:
            after = min(after, last - (last - part.phase) % self._span + self._span)
        return min(after, part.end)

    def _mark_huge(self, pagemap: Pagemap, pid: int, layout: Layout, population: Population) -> Population:
        """Find huge pages of files and shared memory without `PAGEMAP_SCAN`.

        ``smaps`` tells how many bytes of a mapping PMD entries map. Which ones: whole cells, those whose frames lie
        in a row from a multiple of the huge page on before others. The count is exact, the place may be another.
        """
        try:
            sizes = {one.start: one.sizes for one in mappings(pid)}
        except (CellFailed, CapabilityError):
            return population
        span, page = self._span, self._page
        marked: list[int] = []
        for start, end, deposits in zip(
            layout.start.tolist(), layout.end.tolist(), layout.deposits.tolist(), strict=True
        ):
            fields = sizes.get(start, {})
            wanted = (fields.get("ShmemPmdMapped", 0) + fields.get("FilePmdMapped", 0)) // span
            if deposits or not wanted:
                continue
            cells = range(-(-start // span) * span, end - span + 1, span)
            ranked = []
            for cell in cells:
                index, frames = pagemap.file_frames(cell, span // page)
                full = len(pagemap.populated(cell, cell + span).start) == 1
                row = len(index) == span // page and frames[0] % len(index) == 0 and bool((np.diff(frames) == 1).all())
                ranked.append((not row, not full, cell))
            marked += [cell for _, _, cell in sorted(ranked)[:wanted]]
        if not marked:
            return population
        # One range for each cell, so that a mark covers whole ranges.
        cuts = first_of_cells(population.start, population.end, span)
        start = np.unique(np.concatenate([population.start, cuts]))
        owner = np.searchsorted(population.start, start, "right") - 1
        end = np.minimum(population.end[owner], np.append(start[1:], np.iinfo(np.int64).max))
        huge = np.isin(start // span, np.array(marked) // span)
        return Population(start, end, huge | population.huge[owner], population.guessed)


def _without_gaps(layout: Layout) -> Iterator[Part]:
    for part in layout.parts:
        if part.key is not None:
            yield part
            continue
        inside = (layout.start >= part.start) & (layout.end <= part.end)
        for start, end in zip(layout.start[inside].tolist(), layout.end[inside].tolist(), strict=True):
            yield Part(start, end, None, 0)
