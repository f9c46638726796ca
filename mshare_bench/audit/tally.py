"""Tables by object, added up over batches of address spaces.

What is counted for an object, at each level of the page table:

``tables``      tables put down to it, over all address spaces
``exclusive``   those in which nothing else has a page: what goes away when the object does
``placed``      distinct tables if equal tables were one **as the object is mapped now**: equal when they begin at the same
                position of the object, so that mappings at different alignments have different tables
``laid_out``    distinct tables if the object began at the start of a table of every level
``needed``      the same, for all populated pages of the object: also those in tables put down to a neighbour

Address spaces with the same mappings and the same populated ranges (forked processes, mostly) are one row with a weight.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.distinct import DistinctRows, distinct
from mshare_bench.audit.objects import PRIVATE, Kind, Objects
from mshare_bench.audit.pieces import Level, Pieces
from mshare_bench.domain.geometry import Geometry

__all__ = ["SharedSlots", "Tally", "Usage"]

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """Tables by address space of a batch and object; arrays of shape (rows,)."""

    space: _Ints
    number: _Ints
    tables: _Ints


@dataclass(frozen=True, slots=True, eq=False)
class SharedSlots:
    """PMD tables of hugetlb memory that the kernel may share: whole slots of 1 GiB, mapped MAP_SHARED.

    Attributes
    ----------
    number, position, protection
        Object, position of the slot in it, protection: the kernel shares where all three agree. Shape (rows,).
    weight
        Address spaces that have this row.
    space, address
        Where it is to be seen: an address space (as `Tally.add` was told) and an address in it.
    """

    number: _Ints
    position: _Ints
    protection: _Ints
    weight: _Ints
    space: _Ints
    address: _Ints


@dataclass(slots=True)
class Tally:
    """The sums; see the module for what they mean. Arrays by level and object grow as objects are met."""

    objects: Objects
    geometry: Geometry
    tables: _Ints = field(init=False)
    exclusive: _Ints = field(init=False)
    #: PTE tables that lie in one mapping of shared memory from end to end; and those that also begin at a multiple of
    #: their span in the object; and PMD tables of that sort, whatever their position. Shape (objects,).
    whole: _Ints = field(init=False)
    aligned: _Ints = field(init=False)
    whole_slots: _Ints = field(init=False)
    mappers: _Ints = field(init=False)
    mapped_bytes: _Ints = field(init=False)
    placed: tuple[DistinctRows, ...] = field(init=False)
    laid_out: tuple[DistinctRows, ...] = field(init=False)
    needed: tuple[DistinctRows, ...] = field(init=False)
    same_place: DistinctRows = field(init=False)
    slot_places: DistinctRows = field(init=False)
    phases: DistinctRows = field(init=False)
    bases: DistinctRows = field(init=False)
    protections: DistinctRows = field(init=False)
    _slots: list[SharedSlots] = field(init=False)

    def __post_init__(self) -> None:
        levels = len(self.geometry.spans)
        self.tables = np.zeros((levels, 0), np.int64)
        self.exclusive = np.zeros((levels, 0), np.int64)
        self.whole = self.aligned = self.whole_slots = self.mappers = self.mapped_bytes = np.zeros(0, np.int64)
        self.placed = tuple(DistinctRows(2) for _ in range(levels))
        self.laid_out = tuple(DistinctRows(2) for _ in range(levels))
        self.needed = tuple(DistinctRows(2) for _ in range(levels))
        self.same_place, self.slot_places = DistinctRows(3), DistinctRows(3)
        self.phases, self.bases, self.protections = DistinctRows(2), DistinctRows(2), DistinctRows(2)
        self._slots = []

    def add(self, pieces: Pieces, weight: _Ints, label: _Ints) -> Usage:
        """Add a batch.

        Parameters
        ----------
        pieces
            The batch, cut.
        weight
            How many address spaces each one of the batch stands for; 0 leaves it out. Shape (spaces,).
        label
            What to call each one in `SharedSlots`. Shape (spaces,).
        """
        self.grow()
        mapped, size = pieces.mapped, len(self.objects)
        number = mapped.number[pieces.mapping]
        weights = weight[mapped.space[pieces.mapping]]
        usage = []
        for index, level in enumerate(pieces.levels):
            owners, counted = number[level.owner], weights[level.owner]
            self.tables[index] += _sum(owners, counted, size)
            self.exclusive[index] += _sum(owners, counted * level.exclusive, size)
            usage.append(mapped.space[pieces.mapping[level.owner]] * size + owners)
            self._add_layouts(pieces, index, level, number, weights)
        self._add_needed(pieces, number, weights)
        self._add_mappings(pieces, weight)
        self._add_whole(pieces, number, weights)
        self._add_slots(pieces, number, weights, label)
        key = np.concatenate(usage)
        key.sort()
        begin = np.flatnonzero(np.diff(key, prepend=-1))
        tables = np.diff(begin, append=len(key))
        return Usage(key[begin] // size, key[begin] % size, tables)

    def put_down(self, level: int, number: int, tables: int) -> None:
        """Count tables that no page shows but that the kernel counts, where a hidden mapping explains them exactly."""
        self.grow()
        self.tables[level, number] += tables

    def slots(self) -> SharedSlots:
        """Hugetlb slots whose PMD table the kernel may share, of all batches."""
        none = np.empty(0, np.int64)
        if not self._slots:
            return SharedSlots(none, none, none, none, none, none)
        return SharedSlots(
            *(np.concatenate([getattr(one, name) for one in self._slots]) for name in SharedSlots.__slots__)
        )

    def grow(self) -> None:
        """Make room for objects that were met since."""
        lack = len(self.objects) - len(self.mappers)
        if lack:
            for name in ("tables", "exclusive", "whole", "aligned", "whole_slots", "mappers", "mapped_bytes"):
                array = getattr(self, name)
                setattr(self, name, np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, lack)]))

    def _add_layouts(self, pieces: Pieces, index: int, level: Level, number: _Ints, weights: _Ints) -> None:
        span = self.geometry.spans[index]
        mapped = pieces.mapped
        counts = (weights > 0) & (number != PRIVATE)
        taken = counts[level.owner]
        owner = level.owner[taken]
        mapping = pieces.mapping[owner]
        place = level.start[taken] - mapped.start[mapping] + mapped.offset[mapping]
        self.placed[index].add(number[owner], place // self.geometry.page)
        own = level.piece[(number[level.piece] == number[level.owner][level.table]) & counts[level.piece]]
        self.laid_out[index].add(*_first_of_runs(number[own], pieces.position[own] // span))

    def _add_needed(self, pieces: Pieces, number: _Ints, weights: _Ints) -> None:
        # What a level needs follows from what the one below needs, which is much less than the pieces.
        counts = (weights > 0) & (number != PRIVATE)
        below = [np.empty(0, np.int64), np.empty(0, np.int64)]
        known = np.zeros(len(counts), np.bool_)
        for index, (level, span) in enumerate(zip(pieces.levels, self.geometry.spans, strict=True)):
            new = counts & ~known
            known[level.piece] = True
            shown = np.flatnonzero(new & known)
            who = np.concatenate([below[0], number[shown]])
            below = distinct((who, np.concatenate([below[1] // span, pieces.position[shown] // span])))
            self.needed[index].add(*below)
            below[1] = below[1] * span

    def _add_mappings(self, pieces: Pieces, weight: _Ints) -> None:
        mapped, size = pieces.mapped, len(self.objects)
        taken = weight[mapped.space] > 0
        number, space = mapped.number[taken], mapped.space[taken]
        length = (mapped.end - mapped.start)[taken]
        self.mapped_bytes += _sum(number, length * weight[space], size)
        who, what = distinct((space, number))
        self.mappers += _sum(what, weight[who], size)
        span = self.geometry.spans[0]
        large = taken & (mapped.number != PRIVATE) & (mapped.end - mapped.start >= span)
        number = mapped.number[large]
        base = (mapped.start & (1 << pieces.shift) - 1)[large] - mapped.offset[large]
        self.phases.add(number, base % span)
        self.bases.add(number, base)
        self.protections.add(number, mapped.protection[large])

    def _add_whole(self, pieces: Pieces, number: _Ints, weights: _Ints) -> None:
        # Only shared memory, and only tables of base pages: those that another mechanism would do without.
        mapped, size = pieces.mapped, len(self.objects)
        shareable = np.array([one.shared and one.kind is not Kind.MSHARE for one in self.objects])
        for index, level in enumerate(pieces.levels[:2]):
            span = self.geometry.spans[index]
            mapping = pieces.mapping[level.owner]
            whole = (mapped.start[mapping] <= level.start) & (level.start + span <= mapped.end[mapping])
            whole &= shareable[number[level.owner]] & (weights[level.owner] > 0) & (mapped.leaf[mapping] == 0)
            owner, mapping, start = level.owner[whole], mapping[whole], level.start[whole]
            owners, counted = number[owner], weights[owner]
            place = start - mapped.start[mapping] + mapped.offset[mapping]
            if index == 0:
                self.whole += _sum(owners, counted, size)
                self.aligned += _sum(owners, counted * (place % span == 0), size)
                address = (start & (1 << pieces.shift) - 1) // span
                self.same_place.add(owners, address, place // self.geometry.page)
            else:
                self.whole_slots += _sum(owners, counted, size)
                self.slot_places.add(owners, place // self.geometry.page, mapped.protection[mapping])

    def _add_slots(self, pieces: Pieces, number: _Ints, weights: _Ints, label: _Ints) -> None:
        if len(pieces.levels) < 2:
            return
        mapped, level = pieces.mapped, pieces.levels[1]
        mapping = pieces.mapping[level.owner]
        span = self.geometry.spans[1]
        whole = (mapped.start[mapping] <= level.start) & (level.start + span <= mapped.end[mapping])
        huge = np.array([one.kind is Kind.HUGETLB and one.shared for one in self.objects])
        taken = whole & huge[number[level.owner]] & (mapped.leaf[mapping] == 1) & (weights[level.owner] > 0)
        if not taken.any():
            return
        owner, mapping = level.owner[taken], mapping[taken]
        place = level.start[taken] - mapped.start[mapping] + mapped.offset[mapping]
        address = pieces.address[owner] & (1 << pieces.shift) - 1
        space = mapped.space[mapping]
        self._slots.append(
            SharedSlots(number[owner], place, mapped.protection[mapping], weights[owner], label[space], address)
        )


def _first_of_runs(*columns: _Ints) -> list[_Ints]:
    """Rows that are not like the one before them: most of what is double, for little."""
    first = np.zeros(len(columns[0]), np.bool_)
    first[:1] = True
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return [column[first] for column in columns]


def _sum(index: _Ints, weights: _Ints, size: int) -> _Ints:
    # bincount adds in float64: exact for sums below 2**53.
    return np.bincount(index, weights, minlength=size).astype(np.int64)
