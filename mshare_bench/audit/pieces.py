"""Populated ranges, cut where tables and mappings end, and the table of each level that every piece lies in.

Many address spaces are taken together, each moved to a stretch of its own, so that numpy does the work in one go.

A table that several mappings share is **one** table: it is put down to the mapping with the lowest address that has a
page in it. So tables put down to mappings add up to the tables of the process, at every level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.layout import Layout
from mshare_bench.audit.objects import PRIVATE
from mshare_bench.audit.population import Population
from mshare_bench.domain.geometry import Geometry

__all__ = ["Level", "Mapped", "Pieces", "cut", "largest_batch"]

_Ints = NDArray[np.int64]
_Flags = NDArray[np.bool_]


def largest_batch(*, wide: bool) -> int:
    """How many address spaces can be taken together; fewer when one of them reaches beyond 47 bits of address."""
    return 1 << 5 if wide else 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """The mappings of all address spaces of a batch; arrays of shape (mappings,), addresses moved.

    Attributes
    ----------
    start, end, offset, number, leaf, deposits, protection
        As in `Layout`.
    space
        Which address space of the batch.
    """

    start: _Ints
    end: _Ints
    offset: _Ints
    number: _Ints
    leaf: _Ints
    deposits: _Flags
    protection: _Ints
    space: _Ints


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Tables of one level. Arrays of shape (pieces,) for those pieces that need one, of shape (tables,) for tables.

    Attributes
    ----------
    piece
        The pieces, as indices into `Pieces`: the first one of each mapping, table and table's span of the object.
    table
        Table of each piece, as an index into the tables; ascending.
    owner
        The piece that the table is put down to: the one with the lowest address. Shape (tables,).
    start
        First address that the table covers. Shape (tables,).
    exclusive
        Whether all pieces in the table belong to one object. Shape (tables,).
    """

    piece: _Ints
    table: _Ints
    owner: _Ints
    start: _Ints
    exclusive: _Flags


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Populated pieces, ascending: within one mapping, one table, and one table's span of the object.

    Attributes
    ----------
    spaces
        Address spaces in the batch.
    mapped
        Their mappings.
    mapping
        Mapping of each piece, as an index into `mapped`.
    address
        Lowest populated address of each piece, moved.
    position
        That address as a position in the object, bytes.
    levels
        Tables by level, leaves first.
    stray
        Populated ranges that no mapping explains, by address space: it changed while it was read. Shape (spaces,).
    shift
        Bits that one address space takes up: `address & (1 << shift) - 1` is the address in the process.
    """

    spaces: int
    mapped: Mapped
    mapping: _Ints
    address: _Ints
    position: _Ints
    levels: tuple[Level, ...]
    stray: _Ints
    shift: int

    def totals(self) -> _Ints:
        """Count tables; shape (levels, spaces)."""
        space = self.mapped.space[self.mapping]
        return np.stack([np.bincount(space[level.owner], minlength=self.spaces) for level in self.levels])


def cut(read: Sequence[tuple[Layout, Population]], geometry: Geometry) -> Pieces:
    """Cut what was read of address spaces into pieces, and find their tables.

    Parameters
    ----------
    read
        Mappings and populated ranges of each address space; at least one, at most `largest_batch`.
    geometry
        Page-table geometry.
    """
    shift = 57 if any(layout.wide for layout, _ in read) else 47
    bases = [index << shift for index in range(len(read))]
    mapped = _mapped(read, bases)
    ranges = np.concatenate([population.rows for _, population in read])
    move = np.repeat(np.array(bases, np.int64), [len(population.rows) for _, population in read])
    start, end, huge = ranges[:, 0] + move, ranges[:, 1] + move, ranges[:, 2] != 0

    span = geometry.spans[0]
    address = _cut_points(start, end, mapped, span)
    mapping = np.searchsorted(mapped.start, address, "right") - 1
    known = mapping >= 0
    known[known] = address[known] < mapped.end[mapping[known]]
    stray = np.bincount(address[~known] >> shift, minlength=len(read))
    address, mapping = address[known], mapping[known]
    position = address - mapped.start[mapping] + mapped.offset[mapping]

    # One piece for each mapping, table and span of the object: the first of those that the cut points make.
    cell = np.where(mapped.number[mapping] == PRIVATE, 0, position // span)
    first = _changes(mapping, address // span, cell)
    address, mapping, position = address[first], mapping[first], position[first]

    in_huge = huge[np.searchsorted(start, address, "right") - 1] if len(start) else np.empty(0, np.bool_)
    leaf = mapped.leaf[mapping]
    leaf = np.where(in_huge & (leaf == 0) & ~mapped.deposits[mapping], 1, leaf)
    number = mapped.number[mapping]
    rows = (mapping, address, np.where(number == PRIVATE, 0, position))
    levels = tuple(_level(level, leaf, rows, number, span) for level, span in enumerate(geometry.spans))
    return Pieces(len(read), mapped, mapping, address, position, levels, stray, shift)


def _mapped(read: Sequence[tuple[Layout, Population]], bases: Sequence[int]) -> Mapped:
    counts = [len(layout.bounds) for layout, _ in read]
    bounds = [one for layout, _ in read for one in layout.bounds]
    all_ = Layout(bounds, np.concatenate([layout.columns for layout, _ in read]), frozenset(), ())
    move = np.repeat(np.array(bases, np.int64), counts)
    edges = all_.edges
    columns = (all_.offset, all_.number, all_.leaf, all_.protection)
    offset, number, leaf, protection = (np.ascontiguousarray(one) for one in columns)
    space = np.repeat(np.arange(len(read)), counts)
    return Mapped(edges[:, 0] + move, edges[:, 1] + move, offset, number, leaf, number == PRIVATE, protection, space)


def _cut_points(start: _Ints, end: _Ints, mapped: Mapped, span: int) -> _Ints:
    """Starts of ranges, and every place inside one where a table, a mapping or a table's span of an object begins."""
    if not len(start):
        return start
    points = [start, _multiples(start, end, span)]
    phase = (mapped.start - mapped.offset) % span
    last = mapped.offset + mapped.end - mapped.start - 1
    odd = (mapped.number != PRIVATE) & (phase != 0) & (mapped.offset // span != last // span)
    if odd.any():
        phase = phase[odd]
        points.append(_multiples(mapped.start[odd] - phase, mapped.end[odd] - phase, span, phase))
    points.append(mapped.start)
    points[2:] = [_inside(one, start, end) for one in points[2:]]
    return _distinct(np.concatenate(points))


def _distinct(points: _Ints) -> _Ints:
    points.sort(kind="stable")  # runs that are in order already: a merge
    distinct: _Ints = points[_changes(points)]
    return distinct


def _inside(points: _Ints, start: _Ints, end: _Ints) -> _Ints:
    at = np.searchsorted(start, points, "right") - 1
    inside: _Ints = points[(at >= 0) & (points < end[at])]
    return inside


def _multiples(start: _Ints, end: _Ints, span: int, add: _Ints | None = None) -> _Ints:
    low = start // span + 1
    counts = np.maximum((end - 1) // span - low + 1, 0)
    step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    points: _Ints = (np.repeat(low, counts) + step) * span
    if add is not None:
        points += np.repeat(add, counts)
    return points


def _level(level: int, leaf: _Ints, rows: tuple[_Ints, _Ints, _Ints], number: _Ints, span: int) -> Level:
    piece = np.flatnonzero(leaf <= level)
    mapping, address, place = (column[piece] for column in rows)
    slot = address // span
    if level:  # of many pieces in one table, one for each mapping says all
        kept = _changes(mapping, slot, place // span)
        piece, slot = piece[kept], slot[kept]
    first = _changes(slot)
    begin = np.flatnonzero(first)
    owner = piece[begin]
    if len(begin):
        low = np.minimum.reduceat(number[piece], begin)
        high = np.maximum.reduceat(number[piece], begin)
    else:
        low = high = begin
    return Level(piece, np.cumsum(first) - 1, owner, slot[begin] * span, low == high)


def _changes(*columns: _Ints) -> _Flags:
    first = np.zeros(len(columns[0]), np.bool_)
    first[:1] = True
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first
