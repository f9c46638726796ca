"""Frames of memory: what tells that two files are one, and that two processes have one table.

Files on overlay mounts share the page cache but have a device number per mount. Where two mappings show the same frame
of the page cache at the same place of their files, the files are one. A few pages of each object are compared, those
whose index comes first in a fixed shuffle, so that two samples of one file overlap whatever part of it is populated.

A hugetlb page counts the tables that map it. Where that is less than the processes that have it, they share the PMD table.

Both need CAP_SYS_ADMIN: frame numbers read as 0 without.
"""

import os

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.layout import Layout
from mshare_bench.audit.objects import Kind, Objects
from mshare_bench.audit.tally import SharedSlots
from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.pagemap import Pagemap, ScanBuffer, open_pagemap

__all__ = ["Frames", "frames_unavailable", "shared_tables"]

_Ints = NDArray[np.int64]

_SAMPLE = 16
_WINDOW = 512  # pages of a mapping that are looked at
_TRIES = 4
_SHUFFLE = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: multiplying by it scatters neighbours
_COMPARED = (Kind.FILE, Kind.PRIVATE_FILE, Kind.SYSV)


class Frames:
    """Compares objects as they are met, and unites those that show the same frames."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._seen: dict[tuple[int, int, bool], int] = {}
        self._parent: list[int] = []
        self._tries: list[int] = []
        self._wanted: set[int] = set()

    def look(self, pagemap: Pagemap, layout: Layout) -> None:
        """Look at those objects of an address space that have not been looked at enough."""
        self._grow()
        if self._wanted.isdisjoint(layout.numbers):
            return
        for number in self._wanted & layout.numbers:
            self._tries[number] -= 1
            mappings = np.flatnonzero(layout.number == number)
            # Every mapping is sampled: two processes need not have the same ones populated.
            sampled = [self._sample(pagemap, layout, number, int(index)) for index in mappings[:4]]
            if any(sampled) or not self._tries[number]:
                self._wanted.remove(number)

    def same(self) -> _Ints:
        """Give for each object the number of the one that stands for it."""
        self._grow()
        return np.array([self._root(number) for number in range(len(self._parent))], np.int64)

    def _sample(self, pagemap: Pagemap, layout: Layout, number: int, index: int) -> bool:
        start, end = int(layout.start[index]), int(layout.end[index])
        pages = min(_WINDOW, (end - start) // pagemap.page)
        where, frame = pagemap.file_frames(start, pages)
        if not len(where):
            return False
        where = where + int(layout.offset[index]) // pagemap.page
        chosen = np.argsort(where.astype(np.uint64) * _SHUFFLE)[:_SAMPLE]
        shared = self._objects[number].shared
        for page, one in zip(where[chosen].tolist(), frame[chosen].tolist(), strict=True):
            other = self._seen.setdefault((one, page, shared), number)
            if other != number:
                low, high = sorted((self._root(other), self._root(number)))
                self._parent[high] = low
        return True

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _grow(self) -> None:
        for number in range(len(self._parent), len(self._objects)):
            self._parent.append(number)
            self._tries.append(_TRIES)
            if self._objects[number].kind in _COMPARED:
                self._wanted.add(number)


def frames_unavailable() -> str | None:
    """Say why frame numbers can't be read; None when they can."""
    buffer = ScanBuffer(1)
    buffer.rows[0] = 0
    try:
        with open_pagemap("/proc/self/pagemap", buffer, scan=False) as pagemap:
            start = buffer.next_address - buffer.next_address % pagemap.page
            entry = int(pagemap.entries(start, 1)[0])
    except (CapabilityError, OSError) as error:
        return str(error)
    return None if entry & (1 << 55) - 1 else "frame numbers need CAP_SYS_ADMIN"


def shared_tables(slots: SharedSlots, size: int, page: int) -> tuple[_Ints, NDArray[np.bool_]]:
    """Count PMD tables that hugetlb mappings share with the kernel's help: those counted more often than they are there.

    Parameters
    ----------
    slots
        Slots of 1 GiB that lie in one mapping from end to end; `space` is a pid.
    size
        Number of objects.
    page
        Bytes of a base page.

    Returns
    -------
    tables : ndarray of int64, shape (size,)
        By object.
    measured : ndarray of bool, shape (size,)
        Whether the frames' map counts told it; else the kernel's conditions did.
    """
    tables, measured = np.zeros(size, np.int64), np.ones(size, np.bool_)
    order = np.lexsort((slots.position, slots.number))
    key = np.stack([slots.number[order], slots.position[order]])
    for rows in np.split(order, np.flatnonzero(np.any(np.diff(key) != 0, axis=0)) + 1):
        if not len(rows):
            continue
        number = int(slots.number[rows[0]])
        users = int(slots.weight[rows].sum())
        mapped = _map_count(int(slots.space[rows[0]]), int(slots.address[rows[0]]), page)
        if mapped is None:
            mapped = len(set(slots.protection[rows].tolist()))
            measured[number] = False
        tables[number] += max(0, users - mapped)
    return tables, measured


def _map_count(pid: int, address: int, page: int) -> int | None:
    """Count the tables that map a huge page: its map count, by frame."""
    try:
        with open_pagemap(f"/proc/{pid}/pagemap", ScanBuffer(1), scan=False) as pagemap:
            _, frames = pagemap.file_frames(address - address % page, 1)
        if not len(frames):
            return None
        descriptor = os.open("/proc/kpagecount", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, CapabilityError):
        return None
    try:
        data = os.pread(descriptor, 8, int(frames[0]) * 8)
    finally:
        os.close(descriptor)
    return int.from_bytes(data, "little") or None
