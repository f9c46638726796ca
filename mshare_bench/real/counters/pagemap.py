"""Which pages of another process its page tables map, from ``/proc/PID/pagemap``.

Two ways to ask, with one answer:

* the ``PAGEMAP_SCAN`` ioctl (Linux 6.7 on) walks the tables in the kernel and hands out ranges of populated pages. A
  scan that may stop at the first page of each table touches one cache line of it instead of 64: :meth:`Pagemap.first_pages`;
* reading the file itself, 8 bytes for each page of address space: every kernel since 2.6.25 has it. It doesn't tell a
  huge page from small ones, so its ranges never carry the ``huge`` mark.

*Populated* means that the entry holds a page or the note of a swapped, migrating or guarded one: what needs a table.
Limits, which no reader of this file gets around:

* A table that has become empty (after a truncate, say) is still allocated and shows nothing here.
* Mappings of raw frames (VM_PFNMAP: device memory, ``[vvar]``) are left out by the kernel although they need tables.
* Frame numbers read as 0 without CAP_SYS_ADMIN.
* The process goes on running: two calls see two moments.

Documentation/admin-guide/mm/pagemap.rst in the Linux source is the reference of the interface.
"""

import ctypes
import errno
import fcntl
import functools
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CapabilityError

__all__ = [
    "Pagemap",
    "Populated",
    "ScanBuffer",
    "first_of_cells",
    "open_pagemap",
    "resident",
    "scan_unavailable",
]

_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_ARG = struct.Struct("12Q")
_START, _END, _WALK_END = 2, 3, 4  # u64 fields of struct pm_scan_arg that change between calls
_VEC_LEN, _MAX_PAGES = 6, 7
_PRESENT, _SWAPPED, _HUGE = 1 << 3, 1 << 4, 1 << 6

_ENTRY_PRESENT, _ENTRY_SWAPPED, _ENTRY_FILE = 1 << 63, 1 << 62, 1 << 61
_ENTRY_FRAME = (1 << 55) - 1
_FILE_CHUNK = 1 << 17  # entries of one read of the file: 1 MiB

# From the kernel's syscall tables: x86-64 has its own, later architectures share asm-generic.
_MOVE_PAGES = {"x86_64": 279, "aarch64": 239, "riscv64": 239, "ppc64le": 301, "s390x": 310}
_LIBC = ctypes.CDLL(None, use_errno=True)

_Addresses = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Populated:
    """Ranges of populated pages, ascending and disjoint.

    Attributes
    ----------
    start, end
        Bytes; shape (n,).
    huge
        Whether a huge page (THP or hugetlb) maps the range: its entries are above the PTE level. Shape (n,).
    pages
        Base pages in all ranges.
    next
        Where the walk stopped; the end that was asked for when nothing is left.
    """

    start: _Addresses
    end: _Addresses
    huge: NDArray[np.bool_]
    pages: int
    next: int


class ScanBuffer:
    """Memory for the answers of `PAGEMAP_SCAN`; one serves any number of `Pagemap`s, one after the other."""

    __slots__ = ("address", "argument", "fields", "ranges", "words")

    def __init__(self, ranges: int = 1 << 14) -> None:
        self.ranges = np.empty((ranges, 3), np.int64)
        self.address = int(self.ranges.ctypes.data)
        self.words = self.ranges.reshape(-1).data
        anything = _PRESENT | _SWAPPED
        self.argument = bytearray(_ARG.pack(_ARG.size, 0, 0, 0, 0, self.address, ranges, 0, 0, 0, anything, _HUGE))
        self.fields = memoryview(self.argument).cast("Q")


class Pagemap:
    """The open ``pagemap`` of one process, read as a file: the way of kernels without `PAGEMAP_SCAN`."""

    __slots__ = ("descriptor", "page")

    #: Whether ranges tell huge pages from small ones.
    tells_huge = False

    def __init__(self, path: str) -> None:
        self.page = os.sysconf("SC_PAGE_SIZE")
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            raise CapabilityError(f"cannot read {path}: {error.strerror}") from error

    def __enter__(self) -> "Pagemap":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def entries(self, start: int, pages: int) -> NDArray[np.uint64]:
        """Read the raw 64-bit entries of `pages` pages from address `start` on; shorter at the end of the address space."""
        data = os.pread(self.descriptor, pages * 8, start // self.page * 8)
        return np.frombuffer(data, np.uint64, len(data) // 8)

    def file_frames(self, start: int, pages: int) -> tuple[_Addresses, _Addresses]:
        """Find the frames of the page cache (or of shared memory) that are mapped in `pages` pages from `start` on.

        Returns
        -------
        index, frame : ndarray of int64
            Page index counted from `start`, and frame number. Empty without CAP_SYS_ADMIN, where frames read as 0.
        """
        entries = self.entries(start, pages)
        frames = (entries & np.uint64(_ENTRY_FRAME)).astype(np.int64)
        wanted = np.uint64(_ENTRY_PRESENT | _ENTRY_FILE)
        index = np.flatnonzero(((entries & wanted) == wanted) & (frames != 0))
        return index, frames[index]

    def populated(self, start: int, end: int, max_pages: int = 0) -> Populated:
        """Find the populated ranges of [start, end), all of them or as many as one answer holds.

        Parameters
        ----------
        start, end
            Bytes, multiples of the base page.
        max_pages
            Stop after so many populated pages; 0 for no limit.
        """
        page = self.page
        stop = min(end, start + _FILE_CHUNK * page)
        entries = self.entries(start, (stop - start) // page)
        filled = (entries & np.uint64(_ENTRY_PRESENT | _ENTRY_SWAPPED)) != 0
        if max_pages and np.count_nonzero(filled) > max_pages:
            cut = int(np.flatnonzero(filled)[max_pages - 1]) + 1
            filled, stop = filled[:cut], start + cut * page
        edges = np.flatnonzero(np.diff(filled, prepend=False, append=False))
        first, last = start + edges[0::2] * page, start + edges[1::2] * page
        return Populated(first, last, np.zeros(len(first), np.bool_), int(np.count_nonzero(filled)), stop)

    def ranges(self, start: int, end: int) -> Iterator[Populated]:
        """Walk [start, end) to its end."""
        while start < end:
            found = self.populated(start, end)
            yield found
            start = found.next

    def first_pages(
        self, start: int, end: int, span: int, phase: int, limit: int
    ) -> tuple[_Addresses, NDArray[np.bool_], int]:
        """Find the lowest populated page in each cell of [start, end).

        Parameters
        ----------
        start, end
            Bytes, multiples of the base page.
        span
            Bytes that one table covers: cells are cut at its multiples.
        phase
            When not 0, cells are cut at multiples of `span` plus this as well.
        limit
            Stop after so many pages.

        Returns
        -------
        pages : ndarray of int64
            Addresses, ascending.
        huge : ndarray of bool
            Whether it is part of a huge page.
        next : int
            Where it stopped; `end` when nothing is left.
        """
        found = self.populated(start, end)
        cells = first_of_cells(found.start, found.end, span, phase)[:limit]
        huge = np.zeros(len(cells), np.bool_)
        if len(cells) < limit:
            return cells, huge, found.next
        return cells, huge, min(end, _next_cut(int(cells[-1]), span, phase))


class _ScanningPagemap(Pagemap):
    """The same through `PAGEMAP_SCAN`."""

    __slots__ = ("_buffer",)
    tells_huge = True

    def __init__(self, path: str, buffer: ScanBuffer) -> None:
        super().__init__(path)
        self._buffer = buffer

    def populated(self, start: int, end: int, max_pages: int = 0) -> Populated:
        buffer = self._buffer
        fields = buffer.fields
        fields[_START], fields[_END] = start, end
        fields[_VEC_LEN], fields[_MAX_PAGES] = len(buffer.ranges), max_pages
        count = fcntl.ioctl(self.descriptor, _SCAN, buffer.argument)
        found = buffer.ranges[:count].copy()
        pages = int((found[:, 1] - found[:, 0]).sum()) // self.page
        return Populated(found[:, 0], found[:, 1], found[:, 2] != 0, pages, fields[_WALK_END])

    def first_pages(
        self, start: int, end: int, span: int, phase: int, limit: int
    ) -> tuple[_Addresses, NDArray[np.bool_], int]:
        # This loop runs once for each table of a large process: it does nothing but the call and the next address.
        buffer, ioctl, descriptor = self._buffer, fcntl.ioctl, self.descriptor
        fields, words, argument = buffer.fields, buffer.words, buffer.argument
        fields[_END], fields[_VEC_LEN], fields[_MAX_PAGES] = end, 1, 1
        pages: list[int] = []
        huge: list[int] = []
        while start < end and len(pages) < limit:
            fields[_START] = start
            if not ioctl(descriptor, _SCAN, argument):
                start = end
                break
            found = words[0]
            pages.append(found)
            huge.append(words[2])
            start = found - found % span + span
            if phase:
                start = min(start, found - (found - phase) % span + span)
        return np.array(pages, np.int64), np.array(huge, np.int64) != 0, min(start, end)


def _next_cut(address: int, span: int, phase: int) -> int:
    cut = address - address % span + span
    return min(cut, address - (address - phase) % span + span) if phase else cut


def first_of_cells(start: _Addresses, end: _Addresses, span: int, phase: int = 0) -> _Addresses:
    """Give the lowest page of each cell that disjoint ranges fill.

    Parameters
    ----------
    start, end
        Ranges, ascending; shape (n,).
    span, phase
        Cells are cut at multiples of `span` and, when `phase` is not 0, at multiples of `span` plus `phase`.

    Returns
    -------
    ndarray of int64
        Addresses, ascending: the first one of each cell.
    """
    if not len(start):
        return start
    points = [start, _multiples_inside(start, end, span, 0)]
    if phase:
        points.append(_multiples_inside(start, end, span, phase))
    pages = np.unique(np.concatenate(points))
    cell = pages // span
    first = np.empty(len(pages), np.bool_)
    first[0] = True
    np.not_equal(cell[1:], cell[:-1], out=first[1:])
    if phase:
        shifted = (pages - phase) // span
        first[1:] |= shifted[1:] != shifted[:-1]
    lowest: _Addresses = pages[first]
    return lowest


def _multiples_inside(start: _Addresses, end: _Addresses, span: int, phase: int) -> _Addresses:
    # Every span*k + phase in (start, end) of each range.
    low = (start - phase) // span + 1
    counts = np.maximum((end - 1 - phase) // span - low + 1, 0)
    total = int(counts.sum())
    if not total:
        return np.empty(0, np.int64)
    offsets = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    inside: _Addresses = (np.repeat(low, counts) + offsets) * span + phase
    return inside


def open_pagemap(path: str, buffer: ScanBuffer, *, scan: bool | None = None) -> Pagemap:
    """Open the ``pagemap`` of a process; it is closed at the end of a ``with`` block.

    Parameters
    ----------
    path
        Such as ``/proc/1234/pagemap``.
    buffer
        Where the kernel puts its answers.
    scan
        Whether to use `PAGEMAP_SCAN`; None for what this kernel has.

    Raises
    ------
    CapabilityError
        When this user may not read it.
    FileNotFoundError, ProcessLookupError
        When the process has ended.
    """
    if scan is None:
        scan = scan_unavailable() is None
    return _ScanningPagemap(path, buffer) if scan else Pagemap(path)


@functools.cache
def scan_unavailable() -> str | None:
    """Say why `PAGEMAP_SCAN` can't be used here; None when it can. Asked by using it on a page of this process."""
    buffer = ScanBuffer(1)
    page = os.sysconf("SC_PAGE_SIZE")
    start = buffer.address - buffer.address % page
    buffer.ranges[0] = 1, 0, 0
    try:
        with _ScanningPagemap("/proc/self/pagemap", buffer) as pagemap:
            found = pagemap.populated(start, start + page)
    except CapabilityError as error:
        return str(error)
    except OSError as error:
        return f"PAGEMAP_SCAN: {os.strerror(error.errno or errno.EINVAL)} (Linux has it since 6.7)"
    if found.pages != 1:
        return "PAGEMAP_SCAN does not find a page that is there"
    return None


def resident(pid: int, addresses: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Tell which pages a process has mapped, by one ``move_pages(2)`` that moves none.

    It looks up single pages: one cache line of each table, where a scan reads the tables through.

    Parameters
    ----------
    pid
        The process.
    addresses
        Addresses to look at; contiguous int64.

    Returns
    -------
    ndarray of bool, or None
        True where a page of memory is mapped. False says little: nothing mapped, swapped out, the zero page.
        None where the kernel doesn't answer (no NUMA support, not allowed, the process has ended).
    """
    number = _MOVE_PAGES.get(platform.machine())
    if number is None:
        return None
    status = np.full(len(addresses), -1, np.int32)
    result = _LIBC.syscall(
        ctypes.c_long(number),
        ctypes.c_long(pid),
        ctypes.c_ulong(len(addresses)),
        ctypes.c_void_p(addresses.ctypes.data),
        ctypes.c_void_p(None),
        ctypes.c_void_p(status.ctypes.data),
        ctypes.c_long(0),
    )
    return status >= 0 if result == 0 else None
