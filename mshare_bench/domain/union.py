"""The union of many page sets, counted without listing its pages.

Copies of a dense set that meet become one dense run, what lies inside dense runs is dropped, what is there twice counts once.
Most unions are then runs that do not overlap, and their spans are arithmetic. What is left is looked at block by block as bit
masks; blocks that look alike are counted once, so a terabyte drawn at random costs what its few distinct blocks cost.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from mshare_bench.domain.draws import drawn
from mshare_bench.domain.many import distinct, each, larger
from mshare_bench.domain.pages import BLOCK, PageSet, Run, Spans

__all__ = ["Copies", "union_spans"]

_Piece = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """A page set, and so many copies of it in all, each `stride` pages further on than the one before."""

    pages: PageSet
    stride: int = 0
    count: int = 1

    def runs(self) -> Iterator[Run]:
        """Runs that hold their union, as few as can be."""
        if not self.stride:
            yield from self.pages.runs
            return
        for run in _joined(self.pages.runs):
            if run.whole and run.step == 1 and self.stride <= run.end - run.begin:
                yield replace(run, length=(end := run.end + self.stride * (self.count - 1)), high=end, end=end)
            else:
                yield from (replace(run, first=run.first + self.stride * index) for index in range(self.count))


def union_spans(sets: Sequence[Copies], origin: int, span: int, without: Sequence[Copies] = ()) -> Spans:
    """Count the spans of `span` pages that hold a page of any of the sets, and of none of those in `without`.

    Parameters
    ----------
    sets, without
        Page sets of one region.
    origin
        Number of the region's first page in the address space.
    """
    runs = _simplified(run for one in sets for run in one.runs())
    out = _simplified(run for one in without for run in one.runs())
    if out:
        runs = [run for run in runs if not any(_covers(one, run) for one in out)]
        out = [one for one in out if any(_start(one) <= _last(run) and _start(run) <= _last(one) for run in runs)]
    if not out and _disjoint(runs):
        return PageSet(tuple(runs)).spans(origin, span)
    return cast(Spans, each(_spans_of, tuple(runs), tuple(out), origin, span))


def _last(run: Run) -> int:
    return run.first + run.step * (run.end - 1)


def _start(run: Run) -> int:
    return run.first + run.step * run.begin


def _covers(one: Run, run: Run) -> bool:
    """Whether a run is dense and another lies inside it."""
    return one.whole and one.step == 1 and _start(one) <= _start(run) and _last(run) <= _last(one)


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Dense runs that meet or overlap made one; ascending."""
    joined: list[Run] = []
    for run in sorted(runs, key=_start):
        before = joined[-1] if joined else None
        if before and all(one.whole and one.step == 1 for one in (before, run)) and _start(run) <= _last(before) + 1:
            first, count = _start(before), larger(_last(before), _last(run)) + 1 - _start(before)
            joined[-1] = Run(first, 1, count, 0, count, 0, count)
        else:
            joined.append(run)
    return joined


def _simplified(runs: Iterator[Run]) -> list[Run]:
    """Runs with the same union: none twice, none inside a dense one."""
    found = distinct(runs)
    if len(found) < 2:
        return found
    solid = _joined([run for run in found if run.whole and run.step == 1])
    others = [run for run in found if not (run.whole and run.step == 1) and not any(_covers(one, run) for one in solid)]
    return sorted([*solid, *others], key=_start)


def _disjoint(runs: Sequence[Run]) -> bool:
    return all(_last(one) < _start(other) for one, other in itertools.pairwise(runs))


def _spans_of(runs: tuple[Run, ...], out: tuple[Run, ...], origin: int, span: int) -> Spans:
    # Copies written out are many, and too long a key.
    return (_masked_once if len(runs) + len(out) <= 16 else _masked)(runs, out, origin, span)


def _masked(runs: tuple[Run, ...], out: tuple[Run, ...], origin: int, span: int) -> Spans:
    total, first_seen, last_seen = 0, None, None
    if not runs:
        return Spans(0, None, None)
    for start in range(min(map(_start, runs)), max(map(_last, runs)) + 1, BLOCK):
        held = tuple(piece for run in runs for piece in _pieces(run, start))
        if not held:
            continue
        removed = tuple(piece for run in out for piece in _pieces(run, start))
        at = origin + start
        count, first, last = _block(held, removed, at % span, span)
        if count:
            first, last = first + at // span, last + at // span
            total += count - (last_seen == first)
            first_seen, last_seen = (first if first_seen is None else first_seen), last
    return Spans(total, first_seen, last_seen)


_masked_once = functools.lru_cache(maxsize=4096)(_masked)


def _pieces(run: Run, start: int) -> Iterator[_Piece]:
    """What a run has in the `BLOCK` pages from `start` on, relative to it, in numbers that tell pieces apart.

    Whole: first page, step, count. Drawn: page of position 0 of the drawn block, step, the positions looked at, and the draw.
    """
    begin = max(run.begin, -(-(start - run.first) // run.step))
    end = min(run.end, -(-(start + BLOCK - run.first) // run.step))
    if begin >= end:
        return
    if run.whole:
        yield run.first + run.step * begin - start, run.step, end - begin
        return
    for index in range(begin // BLOCK, -(-end // BLOCK)):
        base = index * BLOCK
        yield (
            run.first + run.step * base - start,
            run.step,
            max(begin - base, 0),
            min(end - base, BLOCK),
            *run.draw(index),
        )


@functools.lru_cache(maxsize=4096)
def _block(held: tuple[_Piece, ...], removed: tuple[_Piece, ...], phase: int, span: int) -> tuple[int, int, int]:
    """Spans of one block: how many, the first and the last."""
    mask = np.zeros(BLOCK, np.bool_)
    for pieces, value in ((held, True), (removed, False)):
        for piece in pieces:
            if len(piece) == 3:
                first, step, count = piece
                mask[first : first + step * (count - 1) + 1 : step] = value
            else:
                first, step, begin, end, *draw = piece
                positions = drawn(*draw)
                positions = positions[(positions >= begin) & (positions < end)]
                mask[first + step * positions] = value
    indices = (np.flatnonzero(mask) + phase) // span
    if not len(indices):
        return 0, 0, 0
    return int(np.count_nonzero(indices[1:] != indices[:-1])) + 1, int(indices[0]), int(indices[-1])
