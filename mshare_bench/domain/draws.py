"""Blocks of positions drawn at random without replacement, and how many spans a draw meets.

A draw is told by four numbers (its length, the ranks taken, the seed), and is the same wherever it occurs. Most of what is asked
of it needs no list of its positions: wide spans are missed only where neighbours lie far apart, and such gaps are few.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HEAD", "drawn", "drawn_head", "drawn_spans"]

HEAD = 64
"""Positions at the start of a draw that can be had without all the others."""

_Pages = npt.NDArray[np.int64]

_NEAR = 16
"""Neighbours closer than so many positions are not kept as a gap."""


@functools.lru_cache(maxsize=32)
def _permutation(length: int, seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """A permutation of the positions, and the place that each position has in it."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(length).astype(np.int32)
    place = np.empty(length, np.int32)
    place[order] = np.arange(length, dtype=np.int32)
    return order, place


@functools.lru_cache(maxsize=256)
def drawn(length: int, low: int, high: int, seed: int) -> _Pages:
    """Positions with ranks in [low, high), ascending: their order in the permutation of the next power of two positions.

    So a length that occurs once takes no permutation of its own, and nothing is sorted.
    """
    order, place = _permutation(1 << (length - 1).bit_length(), seed)
    if len(order) > length:
        inside = order < length
        low, high = _nth(inside, low) if low < length else len(order), _nth(inside, high - 1) + 1 if high else 0
    places = place[:length]
    positions = np.flatnonzero(((places >= low) & (places < high)) if low else places < high)
    positions.setflags(write=False)
    return positions


def _nth(inside: npt.NDArray[np.bool_], number: int) -> int:
    """Where the true value of that number is, counted from 0; by halves, since counting is much faster than listing."""
    begin, end = 0, len(inside)
    while end - begin > 4096:
        middle = (begin + end) // 2
        before = int(np.count_nonzero(inside[begin:middle]))
        begin, end, number = (begin, middle, number) if number < before else (middle, end, number - before)
    return begin + int(np.flatnonzero(inside[begin:end])[number])


@dataclass(frozen=True, slots=True)
class _Sketch:
    """How many positions, the first and the last, the widest distance of neighbours, and the neighbours that are not near.

    `head` are the positions below `HEAD`.
    """

    count: int
    first: int
    last: int
    widest: int
    before: npt.NDArray[np.int32]
    after: npt.NDArray[np.int32]
    head: _Pages


@functools.lru_cache(maxsize=4096)
def _sketch(length: int, low: int, high: int, seed: int) -> _Sketch:
    positions = drawn(length, low, high, seed).astype(np.int32)
    apart = np.diff(positions)
    wide = np.flatnonzero(apart >= _NEAR)
    widest = int(apart[wide].max()) if len(wide) else _NEAR - 1
    head = positions[: np.searchsorted(positions, HEAD)].astype(np.int64)
    ends = int(positions[0]), int(positions[-1])
    return _Sketch(len(positions), *ends, widest, positions[:-1][wide], positions[1:][wide], head)


def drawn_head(length: int, low: int, high: int, seed: int) -> _Pages:
    """Positions below `HEAD` of a draw."""
    return _sketch(length, low, high, seed).head if high > low else np.empty(0, np.int64)


@functools.lru_cache(maxsize=1 << 16)
def drawn_spans(
    length: int, low: int, high: int, seed: int, step: int, phase: int, span: int
) -> tuple[int, int, int] | None:
    """Spans of `span` pages that a draw of pages `step` apart meets, starting at page `phase`: how many, the first and the last.

    None where nothing is drawn.
    """
    if high <= low:
        return None
    sketch = _sketch(length, low, high, seed)
    first, last = (sketch.first * step + phase) // span, (sketch.last * step + phase) // span
    if step >= span or first == last:
        return (sketch.count if step >= span else 1), first, last
    if (_NEAR - 1) * step > span:  # near neighbours may have spans between them
        indices = (drawn(length, low, high, seed) * step + phase) // span
        return int(np.count_nonzero(np.diff(indices))) + 1, first, last
    missed = 0
    if sketch.widest * step > span:
        before, after = sketch.before.astype(np.int64), sketch.after.astype(np.int64)
        jumps = (after * step + phase) // span - (before * step + phase) // span
        missed = int((jumps - (jumps > 0)).sum())
    return last - first + 1 - missed, first, last
