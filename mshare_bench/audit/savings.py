"""What each mechanism would leave of an object's tables, from the sums over the address spaces that map it.

=========  =======================================================================================================
mshare     msharefs: one set of tables of every level, in a window of its own; sharers need none. Goes: the tables in which
           nothing else has a page. Comes: what all populated pages of the object need, once
flag       MAP_SHARED_PT: PTE tables that lie in one mapping from end to end, one for all processes that have the same part
           of the object **at the same address**; PMD and PUD tables stay. Files, tmpfs, memfd
hugetlb    the PTE tables go, in every process. PMD tables become one where a process maps whole slots of 1 GiB, and all
           at the same place and with one protection. Memory that a program can ask for in huge pages, not files
THP        the PTE tables of those 2 MiB that are aligned in the object and in memory go
=========  =======================================================================================================

None stands where a mechanism can't hold the object: private mappings, devices, files in huge pages.
"""

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.objects import PRIVATE, Identity, Kind
from mshare_bench.audit.result import SharedObject
from mshare_bench.audit.tally import Tally
from mshare_bench.domain.units import format_size

__all__ = ["Savings", "private_memory"]

_Ints = NDArray[np.int64]

_MSHARE = (Kind.MEMFD, Kind.SYSV, Kind.ANONYMOUS, Kind.TMPFS, Kind.FILE, Kind.HUGETLB)
_FLAG = (Kind.MEMFD, Kind.TMPFS, Kind.FILE)
_HUGE = (Kind.MEMFD, Kind.SYSV, Kind.ANONYMOUS, Kind.TMPFS)


def private_memory(tally: Tally) -> SharedObject:
    """All private memory as one row: there once as it is, and nothing shares it."""
    table_bytes = int(tally.tables[:, PRIVATE].sum()) * tally.geometry.page
    return SharedObject(
        tally.objects[PRIVATE].name,
        Kind.PRIVATE,
        int(tally.mappers[PRIVATE]),
        int(tally.mapped_bytes[PRIVATE]),
        table_bytes,
        table_bytes,
        0,
    )


class Savings:
    """What was added up, by object, after objects that are one were united.

    Parameters
    ----------
    tally
        The sums.
    same
        For each object the number of the one that stands for it; shape (objects,).
    kernel_shared
        PMD tables that are counted to several processes but are there once; shape (objects,).
    """

    def __init__(self, tally: Tally, same: _Ints, kernel_shared: _Ints) -> None:
        self.tally, self._same = tally, same
        self.page = tally.geometry.page
        # Arrays of shape (levels, objects) or (objects,).
        size = len(same)

        def united(values: _Ints) -> _Ints:
            return np.bincount(same, values, minlength=size).astype(np.int64)

        self.tables = np.stack([united(row) for row in tally.tables])
        self.exclusive = np.stack([united(row) for row in tally.exclusive])
        self.mappers, self.mapped_bytes = united(tally.mappers), united(tally.mapped_bytes)
        self.whole, self.aligned = united(tally.whole), united(tally.aligned)
        self.whole_slots = united(tally.whole_slots)
        self.kernel_shared = united(kernel_shared)
        self.names = np.bincount(same, minlength=size)
        placed = np.stack([rows.counts(same) for rows in tally.placed])
        laid_out = np.stack([rows.counts(same) for rows in tally.laid_out])
        # A mapper by itself duplicates nothing, however it lies.
        self.once = np.where(self.mappers > 1, np.minimum(placed, laid_out), self.tables)
        self.needed = np.stack([rows.counts(same) for rows in tally.needed])
        self.same_place = tally.same_place.counts(same)
        self.slot_places = tally.slot_places.counts(same)
        self.phases, self.bases = tally.phases.rows(same), tally.bases.counts(same)
        self.protections = tally.protections.counts(same)
        # What the kernel shares is not there twice, but its single copy may be less than `once` says: never below 0.
        self.duplicated = np.maximum(0, self.tables.sum(axis=0) - self.once.sum(axis=0) - self.kernel_shared)

    def objects(self, measured: NDArray[np.bool_]) -> tuple[SharedObject, ...]:
        """Work the objects out, most duplicated bytes first.

        Parameters
        ----------
        measured
            Whether the tables that the kernel shares were measured, not deduced; shape (objects,).
        """
        rows = [
            self._row(number, bool(measured[number]))
            for number, one in enumerate(self._same.tolist())
            if number != PRIVATE and one == number and self.mappers[number]
        ]
        return tuple(sorted(rows, key=lambda row: (-(row.duplicated_bytes or 0), -row.table_bytes, row.object)))

    def duplicated_fractions(self) -> NDArray[np.float64]:
        """Share of each object's tables that is there more than once; shape (objects,), 0 for private memory."""
        fractions = self.duplicated / np.maximum(self.tables.sum(axis=0), 1)
        fractions[PRIVATE] = 0
        of_each: NDArray[np.float64] = fractions[self._same]
        return of_each

    def _row(self, number: int, measured: bool) -> SharedObject:
        identity, page = self.tally.objects[number], self.page
        shared, mappers = identity.shared, int(self.mappers[number])
        kernel_shared = int(self.kernel_shared[number])
        pte_tables = int(self.exclusive[0, number])
        mshare = flag = flag_aligned = hugetlb = thp = reserve = None
        if shared and identity.kind in _MSHARE:
            gone = int(self.exclusive[:, number].sum()) - kernel_shared
            mshare = page * max(0, gone - int(self.needed[:, number].sum())) if mappers > 1 else 0
        if shared and identity.kind in _FLAG:
            flag = page * int(self.whole[number] - self.same_place[number])
            once = min(int(self.needed[0, number]), int(self.whole[number]))
            flag_aligned = max(flag, page * (int(self.whole[number]) - once)) if mappers > 1 else 0
        if shared and identity.kind in _HUGE:
            pmd_tables = max(0, int(self.whole_slots[number] - self.slot_places[number]))
            hugetlb = page * (pte_tables + pmd_tables)
            thp = page * int(self.aligned[number])
            reserve = int(self.needed[0, number]) * self.tally.geometry.spans[0]
        table_bytes = page * int(self.tables[:, number].sum())
        return SharedObject(
            identity.name,
            identity.kind,
            mappers,
            int(self.mapped_bytes[number]),
            table_bytes,
            page * int(self.once[:, number].sum()),
            page * int(self.duplicated[number]),
            page * kernel_shared,
            ("measured" if measured else "deduced") if kernel_shared else None,
            mshare,
            flag,
            flag_aligned,
            hugetlb,
            thp,
            reserve,
            self._advice(number, identity),
            int(self.names[number]),
        )

    def _advice(self, number: int, identity: Identity) -> tuple[str, ...]:
        if not identity.shared or self.mappers[number] < 2 or identity.kind is Kind.DEVICE:
            return ()
        advice = []
        span = self.tally.geometry.spans[0]
        phases = self.phases[1][self.phases[0] == number]
        huge = format_size(span)
        if len(phases) == 0:
            return (f"no mapping of it is {huge} long: less than one table each",)
        if len(phases) > 1:
            advice.append(
                f"mapped at {len(phases)} different distances from a multiple of {huge}: "
                f"tables differ, so the flag can't share them; map it at a multiple of {huge} everywhere"
            )
        elif phases[0]:
            advice.append(
                f"mapped {format_size(int(phases[0]))} off a multiple of {huge}: no huge page fits, hugetlb and THP need "
                f"the mapping moved"
            )
        if self.bases[number] > 1 and identity.kind in _FLAG:
            advice.append(f"mapped at {self.bases[number]} different addresses: the flag needs one, a window does not")
        if self.protections[number] > 1:
            advice.append("mapped with more than one protection: a window has one for all")
        if identity.kind is Kind.HUGETLB and self.mappers[number] > 1 and not self.kernel_shared[number]:
            slot = format_size(self.tally.geometry.spans[1])
            advice.append(f"the kernel shares no PMD tables of it: that takes whole slots of {slot}, aligned alike")
        return tuple(advice)
