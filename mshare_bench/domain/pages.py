"""Sets of pages, kept as rules instead of lists, so that a terabyte costs what a megabyte costs.

A `PageSet` is an ordered row of disjoint `Run`s. A run is an arithmetic progression of pages (dense, one per 2 MiB,
strided) or a random sample of one, drawn without replacement. Random samples are drawn per block of `BLOCK` positions,
from `DRAWS` independent draws in rotation: memory and time stay those of a few blocks, whatever the region's size.
What is asked of a set is how many *spans* (of a table, a fault window, a huge page) hold at least one of its pages.
"""

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.draws import HEAD, drawn, drawn_head, drawn_spans
from mshare_bench.domain.many import alone, each, each_once, larger, remembered, smaller
from mshare_bench.domain.sent import sent_by_fields

__all__ = [
    "BLOCK",
    "EMPTY",
    "PageSet",
    "Run",
    "Spans",
    "dense",
    "drawn",
    "floor_sum",
    "sample",
    "strided",
    "union_intervals",
]

BLOCK = 1 << 18
DRAWS = 4

_Pages = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans that hold at least one page: how many, and the indices of the first and the last (None when none)."""

    count: int
    first: int | None
    last: int | None


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Run:
    """Pages `first + step * i` for those positions i in [begin, end) whose rank lies in [low, high).

    Attributes
    ----------
    first, step
        The progression, in pages from the start of the region.
    length
        Positions of the whole progression; ranks are a seeded permutation of them.
    low, high
        The ranks taken. `0, length` takes every position, so that the order of the ranks does not matter.
    begin, end
        The stretch of positions that is looked at; a clipped run keeps its permutation.
    seed
        Seed of the permutation.
    """

    first: int
    step: int
    length: int
    low: int
    high: int
    begin: int
    end: int
    seed: int = 0

    @property
    def whole(self) -> bool:
        """Whether every position of the stretch is in the set: an arithmetic progression."""
        return self.low == 0 and self.high == self.length

    @property
    def count(self) -> int:
        """Number of pages."""
        if self.end <= self.begin or self.high <= self.low:
            return 0
        if self.whole:
            return self.end - self.begin
        if self.begin == 0 and self.end == self.length:
            return self.high - self.low
        return cast(int, each(_drawn_count, self))

    def clip(self, start: int, stop: int) -> "Run":
        """Keep the pages in [start, stop)."""
        begin = larger(self.begin, -(-(start - self.first) // self.step))
        end = smaller(self.end, -(-(stop - self.first) // self.step))
        return replace(self, begin=begin, end=larger(begin, end))

    def pages(self) -> _Pages:
        """Every page, in ascending order; asks for memory in proportion."""
        alone(self)
        if self.whole:
            positions = np.arange(self.begin, max(self.begin, self.end), dtype=np.int64)
        else:
            blocks = [base + positions for base, positions in self._blocks()]
            positions = np.concatenate(blocks) if blocks else np.empty(0, np.int64)
        return self.first + self.step * positions

    def spans(self, origin: int, span: int) -> Spans:
        """Count the spans of `span` pages that hold a page, the region starting at page `origin` of the address space."""
        if self.end <= self.begin or self.high <= self.low:
            return Spans(0, None, None)
        base = origin + self.first
        if self.whole:
            first = (base + self.step * self.begin) // span
            last = (base + self.step * (self.end - 1)) // span
            return Spans(self.end - self.begin if self.step >= span else last - first + 1, first, last)
        return cast(Spans, each_once(_drawn_spans, self, base, span))

    def intervals(self, origin: int, span: int) -> _Pages:
        """Spans that hold a page, as merged `[first, last]` rows, ascending; shape (n, 2)."""
        alone(self, origin)
        if self.end <= self.begin or self.high <= self.low:
            return np.empty((0, 2), np.int64)
        if self.whole and self.step <= span:
            found = self.spans(origin, span)
            return np.array([[found.first, found.last]], np.int64)
        indices = (self.pages() + origin) // span  # ascending as the pages are
        if not len(indices):
            return np.empty((0, 2), np.int64)
        breaks = np.flatnonzero(np.diff(indices) > 1)
        starts = indices[np.concatenate([[0], breaks + 1])]
        ends = indices[np.concatenate([breaks, [len(indices) - 1]])]
        return np.stack([starts, ends], axis=1)

    def _blocks(self) -> list[tuple[int, _Pages]]:
        """(first position of the block, positions taken relative to it) for every block of the stretch."""
        blocks = []
        for index in range(self.begin // BLOCK, -(-self.end // BLOCK)):
            start = index * BLOCK
            length, low, high, seed = self.draw(index)
            positions = (drawn_head if self.end - start <= HEAD else drawn)(length, low, high, seed)
            if self.begin > start or self.end < start + length:
                inside = np.searchsorted(positions, (self.begin - start, self.end - start))
                positions = positions[inside[0] : inside[1]]
            blocks.append((start, positions))
        return blocks

    def draw(self, block: int) -> tuple[int, int, int, int]:
        """Arguments of `drawn` for a block of positions: its length, the ranks taken, and the seed."""
        start, stop = block * BLOCK, min(self.length, (block + 1) * BLOCK)
        # Rounded so that the ranks of all blocks add up to the ranks of the run, and that a split run stays a split.
        low = self.low * stop // self.length - self.low * start // self.length
        high = self.high * stop // self.length - self.high * start // self.length
        return stop - start, low, high, self.seed * DRAWS + block % DRAWS


def _drawn_count(run: Run) -> int:
    return sum(len(positions) for _, positions in run._blocks())


# A sweep comes back to the sets of one mechanism with the next: 40 regions of 100 sizes must fit, or the cache is of no use.
@remembered(maxsize=1 << 17)
def _drawn_spans(run: Run, base: int, span: int) -> Spans:
    if (run.begin, run.end) == (0, run.length) and run.length <= BLOCK:
        found = drawn_spans(*run.draw(0), run.step, base % span, span)
        return (
            Spans(0, None, None) if found is None else Spans(found[0], found[1] + base // span, found[2] + base // span)
        )
    if (run.begin, run.end) != (0, run.length) or BLOCK * run.step % span:
        return _spans_by_block(run, base, span)
    # Every block starts at the same place of a span, so what it meets depends on its draw alone, of which few are distinct.
    draws, kinds = _draws(run)
    each_draw = [drawn_spans(*draw, run.step, base % span, span) or (0, 0, 0) for draw in draws]
    numbers = np.array(each_draw)[kinds]
    counts, ends = numbers[:, 0], numbers[:, 1:]
    ends = (ends + (BLOCK * run.step // span * np.arange(len(kinds)))[:, None])[counts > 0]
    if not len(ends):
        return Spans(0, None, None)
    total = int(counts.sum()) - int(np.count_nonzero(ends[1:, 0] == ends[:-1, 1]))
    return Spans(total, int(ends[0, 0]) + base // span, int(ends[-1, 1]) + base // span)


@remembered(maxsize=1 << 13)
def _draws(run: Run) -> tuple[list[tuple[int, int, int, int]], npt.NDArray[np.int64]]:
    """Distinct draws of a run that is not clipped, and which of them every block is."""
    numbers: dict[tuple[int, int, int, int], int] = {}
    kinds = [numbers.setdefault(run.draw(index), len(numbers)) for index in range(-(-run.length // BLOCK))]
    return list(numbers), np.array(kinds, np.int64)


def _spans_by_block(run: Run, base: int, span: int) -> Spans:
    total, first_seen, last_seen = 0, None, None
    for index in range(run.begin // BLOCK, -(-run.end // BLOCK)):
        begin, draw = index * BLOCK, run.draw(index)
        start = base + run.step * begin
        if run.begin <= begin and begin + draw[0] <= run.end:
            found = drawn_spans(*draw, run.step, start % span, span)
        else:
            positions = drawn(*draw)
            stretch = np.searchsorted(positions, (run.begin - begin, run.end - begin))
            indices = (positions[stretch[0] : stretch[1]] * run.step + start % span) // span
            found = (int(np.count_nonzero(np.diff(indices))) + 1, *indices[[0, -1]].tolist()) if len(indices) else None
        if found is not None:
            count, first, last = found[0], found[1] + start // span, found[2] + start // span
            total += count - (last_seen == first)
            first_seen, last_seen = (first if first_seen is None else first_seen), last
    return Spans(total, first_seen, last_seen)


@sent_by_fields
@dataclass(frozen=True, slots=True)
class PageSet:
    """Disjoint runs in ascending order of their pages."""

    runs: tuple[Run, ...]
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def count(self) -> int:
        """Number of pages."""
        return sum(run.count for run in self.runs)

    def __hash__(self) -> int:
        # Page sets are keys of many caches, and the same ones over and over: hashed once each.
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(self.runs))
        return cast(int, self._hash)

    def within(self, start: int, stop: int) -> bool:
        """Whether every page lies in [start, stop)."""
        return all(
            start <= run.first + run.step * run.begin and run.first + run.step * (run.end - 1) < stop
            for run in self.runs
        )

    def clip(self, start: int, stop: int) -> "PageSet":
        """Keep the pages in [start, stop)."""
        clipped = (run.clip(start, stop) for run in self.runs)
        return PageSet(tuple(run for run in clipped if run.end > run.begin))

    def shift(self, pages: int) -> "PageSet":
        """Move every page up by so many."""
        return PageSet(tuple(replace(run, first=run.first + pages) for run in self.runs))

    def pages(self) -> _Pages:
        """Every page, in ascending order; asks for memory in proportion."""
        return np.concatenate([run.pages() for run in self.runs]) if self.runs else np.empty(0, np.int64)

    def spans(self, origin: int, span: int) -> Spans:
        """Count the spans of `span` pages that hold a page, the region starting at page `origin` of the address space."""
        total, first, last = 0, None, None
        for run in self.runs:
            found = run.spans(origin, span)
            if found.count:
                total += found.count - (last == found.first if last is not None else 0)
                first, last = (found.first if first is None else first), found.last
        return Spans(total, first, last)

    def copies_spans(self, origin: int, span: int, stride: int, copies: int) -> int:
        """Add up the spans that hold a page of each of so many copies of the set, each `stride` pages further on."""
        if not all(run.whole for run in self.runs):
            return cast(int, each(_drawn_copies_spans, self, origin, span, stride, copies))
        total, before, before_sum = 0, None, 0
        for run in self.runs:
            first, last = (origin + run.first + run.step * at for at in (run.begin, run.end - 1))
            first_sum, last_sum = (floor_sum(copies, span, stride, at) for at in (first, last))
            total += (run.end - run.begin) * copies if run.step >= span else last_sum - first_sum + copies
            if before is not None:
                # Runs less than a span apart meet in one, or lie in neighbours.
                meeting = copies - (first_sum - before_sum)
                total -= meeting * (first - before < span)
            before, before_sum = last, last_sum
        return total

    def intervals(self, origin: int, span: int) -> _Pages:
        """Spans that hold a page, as merged `[first, last]` rows, ascending; shape (n, 2)."""
        return union_intervals([run.intervals(origin, span) for run in self.runs])

    def split(self, fraction: float, seed: int = 0) -> tuple["PageSet", "PageSet"]:
        """Split at random into a part with that fraction of each run's pages, and the rest."""
        if fraction <= 0 or fraction >= 1:
            return (EMPTY, self) if fraction <= 0 else (self, EMPTY)
        taken, rest = [], []
        for run in self.runs:
            middle = run.low + round(fraction * (run.high - run.low))
            own = replace(run, seed=seed) if run.whole else run
            taken.append(replace(own, high=middle))
            rest.append(replace(own, low=middle))
        return _nonempty(taken), _nonempty(rest)


def floor_sum(count: int, span: int, stride: int, offset: int) -> int:
    """Sum of `(offset + stride * i) // span` over i in [0, count), in as many steps as Euclid's algorithm takes.

    Whole spans are taken out of stride and offset; what is left counts the lattice points below a line, which are those of the
    line with its axes swapped, where there are fewer to count.
    """
    total = 0
    while True:
        total = total + count * (count - 1) // 2 * (stride // span) + count * (offset // span)
        stride, offset = stride % span, offset % span
        top = stride * count + offset
        if not np.any(top >= span):
            return total
        count, offset = top // span, top % span
        span, stride = larger(stride, 1), span  # those elements that are done have a count of 0, and maybe a stride


def _drawn_copies_spans(pages: PageSet, origin: int, span: int, stride: int, copies: int) -> int:
    if not stride % span:
        return pages.spans(origin, span).count * copies
    phases = (origin + stride * np.arange(copies, dtype=np.int64)) % span
    distinct, times = np.unique(phases, return_counts=True)
    often = zip(distinct.tolist(), times.tolist(), strict=True)
    return sum(pages.spans(phase, span).count * number for phase, number in often)


def _nonempty(runs: list[Run]) -> PageSet:
    return PageSet(tuple(run for run in runs if run.high > run.low and run.end > run.begin))


EMPTY = PageSet(())


def dense(first: int, count: int) -> PageSet:
    """Every page of [first, first + count)."""
    return strided(first, 1, count)


def strided(first: int, step: int, count: int) -> PageSet:
    """Take `count` pages from `first` on, `step` apart."""
    return PageSet((Run(first, step, count, 0, count, 0, count),)) if count > 0 else EMPTY


def sample(first: int, length: int, count: int, seed: int) -> PageSet:
    """Take `count` of the `length` pages from `first` on, at random without replacement."""
    if count <= 0 or length <= 0:
        return EMPTY
    return PageSet((Run(first, 1, length, 0, min(count, length), 0, length, seed),))


def union_intervals(parts: list[_Pages]) -> _Pages:
    """Merge `[first, last]` rows (inclusive, shape (n, 2)) of several sets into their union, ascending."""
    rows = np.concatenate([part for part in parts if len(part)]) if any(len(part) for part in parts) else None
    if rows is None:
        return np.empty((0, 2), np.int64)
    if len(rows) == 1:
        return rows
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    reach = np.maximum.accumulate(rows[:, 1])
    begins = np.flatnonzero(np.concatenate([[True], rows[1:, 0] > reach[:-1] + 1]))
    ends = np.concatenate([begins[1:] - 1, [len(rows) - 1]])
    return np.stack([rows[begins, 0], reach[ends]], axis=1)
