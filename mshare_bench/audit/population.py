"""Which pages of an address space are mapped, asked for with as little reading of its tables as will do.

Reading every entry of every table is what makes ``smaps`` slow: 4 KiB of cold memory for each table. Here

* small mappings are scanned together, a large one by itself;
* where a large mapping turns out to be dense, the scan jumps: one page found in a table proves the table;
* where another process has mapped the same part of the same object in the same place, the pages found there are asked
  about first, all in one system call. Each page that is there proves its table, at one cache line a table. Whether the
  process has more tables than those shows in its ``VmPTE``, which the caller compares; if so, it asks again, thoroughly;
* where that process had a page in **every** table that the mapping can have, some pages are asked about instead of all: it
  is the count that proves the rest. A mapping can't have more tables than all, and with fewer ``VmPTE`` would be less.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

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
# Pages asked about where the count proves the rest.
_ASKED = 4
# Guesses for a part that were wrong this often are not tried again.
_MISSES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Populated ranges of one address space, ascending and disjoint, true as to which tables they lie in.

    A dense range may be cut to one page for each table, and pages in every table of a mapping may be one range.

    Attributes
    ----------
    rows
        Start, end (bytes) and mark of each range; the mark is not 0 where a huge page maps it. Shape (ranges, 3).
    guessed
        Whether pages were asked about that another process has, and there was room for more: true, but perhaps not all.
    """

    rows: NDArray[np.int64]
    guessed: bool

    @property
    def start(self) -> _Addresses:
        """First address of each range."""
        return self.rows[:, 0]

    @property
    def end(self) -> _Addresses:
        """The address after each range."""
        return self.rows[:, 1]

    @property
    def huge(self) -> NDArray[np.bool_]:
        """Whether a huge page maps the range."""
        marked: NDArray[np.bool_] = self.rows[:, 2] != 0
        return marked


@dataclass(frozen=True, slots=True)
class _Known:
    """Pages that a process has in a part, counted from its start.

    Attributes
    ----------
    pages
        One for each table that has any.
    asked
        Those to ask about in another process.
    complete
        Whether every table that the part can have has one.
    """

    pages: _Addresses
    asked: _Addresses
    complete: bool


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
        self._known: dict[tuple[int, ...], _Known] = {}
        self._misses: dict[tuple[int, ...], int] = {}

    def open(self, folder: str) -> Pagemap:
        """Open the ``pagemap`` of a process; raises as `open_pagemap` does."""
        return open_pagemap(f"{folder}/pagemap", self._buffer, scan=self._scan)

    def reset(self) -> None:
        """Forget all populations that were read: their memory is used again."""
        self._buffer.used = 0

    def read(self, pagemap: Pagemap, pid: int, layout: Layout, *, thorough: bool = False) -> Population:
        """Find what is populated. What is given back is valid until `reset`.

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
        buffer, known = self._buffer, self._known
        proven = () if thorough else self._proven(pid, layout.parts)
        guessed = False
        begin = buffer.used
        # The file has 8 bytes for each page of a gap as well, the ioctl passes over gaps.
        for part in layout.parts if pagemap.tells_huge else _without_gaps(layout):
            start, end, key, _ = part
            if key is None:
                while start < end:
                    start = pagemap.scan(start, end)
                continue
            if start in proven:
                one = known[key]
                if one.complete:
                    buffer.put(start, end)  # a page in every table that it can have: which one makes no difference
                else:
                    pages = start + one.pages
                    buffer.append(pages, pages + self._page)
                    guessed = True
                continue
            before = buffer.used
            self._scan_part(pagemap, part)
            if thorough or key not in known:
                self._learn(part, buffer.rows[before : buffer.used])
        population = Population(buffer.rows[begin : buffer.used], guessed)
        if thorough and not pagemap.tells_huge:
            return self._mark_huge(pagemap, pid, layout, population)
        return population

    def _proven(self, pid: int, parts: Sequence[Part]) -> Collection[int]:
        """Starts of large mappings whose pages are as another process has them, as far as was asked."""
        known = [(part, self._known[part.key]) for part in parts if part.key is not None and part.key in self._known]
        if not known:
            return ()
        asked = [part.start + one.asked for part, one in known]
        there = resident(pid, asked[0] if len(asked) == 1 else np.concatenate(asked))
        if there is None:
            return ()
        if there.all():
            return [part.start for part, _ in known]
        proven, at = [], 0
        for part, one in known:
            if there[at : at + len(one.asked)].all():
                proven.append(part.start)
            else:
                self._forget(part)
            at += len(one.asked)
        return proven

    def _forget(self, part: Part) -> None:
        assert part.key is not None
        self._misses[part.key] = self._misses.get(part.key, 0) + 1
        del self._known[part.key]

    def _learn(self, part: Part, rows: NDArray[np.int64]) -> None:
        assert part.key is not None
        self._known.pop(part.key, None)
        # Where huge pages are, a page that is there proves no PTE table; with nothing there, there is nothing to ask.
        if not len(rows) or rows[:, 2].any() or self._misses.get(part.key, 0) >= _MISSES:
            return
        pages = first_of_cells(rows[:, 0], rows[:, 1], self._span, part.phase)
        cells = (part.end - 1) // self._span - part.start // self._span + 1
        if part.phase:
            cells += (part.end - 1 - part.phase) // self._span - (part.start - 1 - part.phase) // self._span
        pages -= part.start
        complete = len(pages) >= cells
        some = np.linspace(0, len(pages) - 1, min(len(pages), _ASKED)).astype(np.int64)
        self._known[part.key] = _Known(pages, pages[some] if complete else pages, complete)

    def _scan_part(self, pagemap: Pagemap, part: Part) -> None:
        """Find what is populated in a large mapping: a sample first, then all of it or a page for each table."""
        buffer = self._buffer
        at, limit = part.start, _SAMPLE
        while at < part.end:
            before = buffer.used
            at = pagemap.scan(at, part.end, limit)
            if not limit or at >= part.end:
                continue
            found = buffer.rows[before : buffer.used]
            if found[:, 2].any():
                limit = 0  # few entries, many pages: no need to stop and look
                continue
            tables = len(first_of_cells(found[:, 0], found[:, 1], self._span))
            if (found[:, 1] - found[:, 0]).sum() < tables * _DENSE * self._page:
                limit *= 4
            else:
                at = pagemap.first_pages(self._next_cell(at, part), part.end, self._span, part.phase, _JUMPS)

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
        span, pages = self._span, self._span // self._page
        marked: list[int] = []
        for start, end, deposits in zip(
            layout.start.tolist(), layout.end.tolist(), layout.deposits.tolist(), strict=True
        ):
            fields = sizes.get(start, {})
            wanted = (fields.get("ShmemPmdMapped", 0) + fields.get("FilePmdMapped", 0)) // span
            if deposits or not wanted:
                continue
            ranked = []
            for cell in range(-(-start // span) * span, end - span + 1, span):
                index, frames = pagemap.file_frames(cell, pages)
                row = len(index) == pages and frames[0] % pages == 0 and bool((np.diff(frames) == 1).all())
                full = ((population.start <= cell) & (population.end >= cell + span)).any()
                ranked.append((not row, not full, cell))
            marked += [cell for _, _, cell in sorted(ranked)[:wanted]]
        if not marked:
            return population
        # One range for each cell, so that a mark covers whole ranges.
        cuts = first_of_cells(population.start, population.end, span)
        start = np.unique(np.concatenate([population.start, cuts]))
        owner = np.searchsorted(population.start, start, "right") - 1
        end = np.minimum(population.end[owner], np.append(start[1:], np.iinfo(np.int64).max))
        huge = np.isin(start // span, np.array(marked) // span) | population.huge[owner]
        return Population(np.stack([start, end, huge], axis=1), population.guessed)


def _without_gaps(layout: Layout) -> Iterator[Part]:
    for part in layout.parts:
        if part.key is not None:
            yield part
            continue
        inside = (layout.start >= part.start) & (layout.end <= part.end)
        for start, end in zip(layout.start[inside].tolist(), layout.end[inside].tolist(), strict=True):
            yield Part(start, end, None, 0)
