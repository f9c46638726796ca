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

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CapabilityError

__all__ = [
    "Pagemap",
    "ScanBuffer",
    "first_of_cells",
    "open_pagemap",
    "resident",
    "scan_unavailable",
]

_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_ARG = struct.Struct("12Q")
# The u64 fields of struct pm_scan_arg that change between calls.
_START, _END, _VEC, _VEC_LEN, _MAX_PAGES = 2, 3, 5, 6, 7
_ROW = 24  # struct page_region
_ANSWER = 1 << 12  # ranges of one answer
_PRESENT, _SWAPPED, _HUGE = 1 << 3, 1 << 4, 1 << 6

_ENTRY_PRESENT, _ENTRY_SWAPPED, _ENTRY_FILE = 1 << 63, 1 << 62, 1 << 61
_ENTRY_FRAME = (1 << 55) - 1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FILE_CHUNK = 1 << 17  # entries of one read of the file: 1 MiB

# From the kernel's syscall tables: x86-64 has its own, later architectures share asm-generic.
_MOVE_PAGES = {"x86_64": 279, "aarch64": 239, "riscv64": 239, "ppc64le": 301, "s390x": 310}.get(platform.machine())
_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.argtypes = (ctypes.c_long,) * 7
_SYSCALL.restype = ctypes.c_long

_Addresses = NDArray[np.int64]


class ScanBuffer:
    """Populated ranges, one after the other, as scans append them.

    Parameters
    ----------
    ranges
        Room at first; `reserve` makes more.

    Attributes
    ----------
    rows
        Start, end (bytes) and mark of each range; the mark is not 0 where a huge page (THP or hugetlb) maps the range, so that
        its entry is above the PTE level. Shape (room, 3), int64; the first `used` are filled.
    used
        How many. Set it back to drop the last ones.
    """

    __slots__ = ("_base", "argument", "fields", "rows", "used", "words")

    def __init__(self, ranges: int = 1 << 14) -> None:
        self.used = 0
        self.argument = bytearray(_ARG.pack(_ARG.size, 0, 0, 0, 0, 0, 0, 0, 0, 0, _PRESENT | _SWAPPED, _HUGE))
        self.fields = memoryview(self.argument).cast("Q")
        self._take(np.empty((ranges, 3), np.int64))

    def reserve(self, ranges: int) -> None:
        """Make room for so many more. Views of `rows` from before stay as they are, but are no part of it any more."""
        if len(self.rows) - self.used < ranges:
            rows = np.empty((2 * len(self.rows) + ranges, 3), np.int64)
            rows[: self.used] = self.rows[: self.used]
            self._take(rows)

    def put(self, start: int, end: int) -> None:
        """Append one range of base pages."""
        self.reserve(1)
        at = 3 * self.used
        self.words[at], self.words[at + 1], self.words[at + 2] = start, end, 0
        self.used += 1

    def append(self, start: _Addresses, end: _Addresses) -> None:
        """Append ranges of base pages."""
        count = len(start)
        self.reserve(count)
        rows = self.rows[self.used : self.used + count]
        rows[:, 0], rows[:, 1], rows[:, 2] = start, end, 0
        self.used += count

    def _take(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self.words = rows.reshape(-1).data
        self._base: int = rows.__array_interface__["data"][0]

    @property
    def next_address(self) -> int:
        """Where in memory the next row goes."""
        return self._base + self.used * _ROW


class Pagemap:
    """The open ``pagemap`` of one process, read as a file: the way of kernels without `PAGEMAP_SCAN`.

    Parameters
    ----------
    path
        Such as ``/proc/1234/pagemap``.
    buffer
        Where ranges are appended.
    """

    __slots__ = ("buffer", "descriptor", "page")

    #: Whether ranges tell huge pages from small ones.
    tells_huge = False

    def __init__(self, path: str, buffer: ScanBuffer) -> None:
        self.buffer = buffer
        self.page = _PAGE
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

    def scan(self, start: int, end: int, max_pages: int = 0) -> int:
        """Append the populated ranges of [start, end), all of them or as many as one call gives.

        Parameters
        ----------
        start, end
            Bytes, multiples of the base page.
        max_pages
            Stop after so many populated pages; 0 for no limit.

        Returns
        -------
        int
            Where it stopped; `end` when nothing is left.
        """
        page = self.page
        stop = min(end, start + _FILE_CHUNK * page)
        entries = self.entries(start, (stop - start) // page)
        filled = (entries & np.uint64(_ENTRY_PRESENT | _ENTRY_SWAPPED)) != 0
        if max_pages and np.count_nonzero(filled) > max_pages:
            cut = int(np.flatnonzero(filled)[max_pages - 1]) + 1
            filled, stop = filled[:cut], start + cut * page
        edges = np.flatnonzero(np.diff(filled, prepend=False, append=False))
        self.buffer.append(start + edges[0::2] * page, start + edges[1::2] * page)
        return stop

    def first_pages(self, start: int, end: int, span: int, phase: int, limit: int) -> int:
        """Append the lowest populated page of each cell of [start, end), as ranges of one page.

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
        int
            Where it stopped; `end` when nothing is left.
        """
        begin = self.buffer.used
        stop = self.scan(start, end)
        found = self.buffer.rows[begin : self.buffer.used]
        cells = first_of_cells(found[:, 0].copy(), found[:, 1].copy(), span, phase)[:limit]
        self.buffer.used = begin
        self.buffer.append(cells, cells + self.page)
        return stop if len(cells) < limit else min(end, _next_cut(int(cells[-1]), span, phase))


class _ScanningPagemap(Pagemap):
    """The same through `PAGEMAP_SCAN`."""

    __slots__ = ()
    tells_huge = True

    def scan(self, start: int, end: int, max_pages: int = 0) -> int:
        buffer = self.buffer
        buffer.reserve(_ANSWER)
        fields = buffer.fields
        fields[_START], fields[_END], fields[_MAX_PAGES] = start, end, max_pages
        fields[_VEC], fields[_VEC_LEN] = buffer.next_address, _ANSWER
        count = fcntl.ioctl(self.descriptor, _SCAN, buffer.argument)
        before = buffer.used
        buffer.used += count
        # The walk_end that the kernel hands out is that of an earlier round when it ends after more than 512 ranges (seen on
        # Linux 6.18): what was left out follows from what is there.
        full = count == _ANSWER
        if max_pages and count and not full:
            found = buffer.rows[before : buffer.used]
            full = int((found[:, 1] - found[:, 0]).sum()) >= max_pages * self.page
        return min(end, buffer.words[3 * buffer.used - 2]) if full else end

    def first_pages(self, start: int, end: int, span: int, phase: int, limit: int) -> int:
        # This loop runs once for each table of a large process: it does nothing but the call and the next address.
        buffer, ioctl, descriptor, page = self.buffer, fcntl.ioctl, self.descriptor, self.page
        buffer.reserve(limit)
        fields, words, argument = buffer.fields, buffer.words, buffer.argument
        fields[_END], fields[_VEC_LEN], fields[_MAX_PAGES] = end, 1, 1
        vec, at = buffer.next_address, 3 * buffer.used
        last = at + 3 * limit
        while start < end and at < last:
            fields[_START], fields[_VEC] = start, vec
            if not ioctl(descriptor, _SCAN, argument):
                start = end
                break
            found = words[at]
            words[at + 1] = found + page
            start = found - found % span + span
            if phase:
                start = min(start, found - (found - phase) % span + span)
            vec += _ROW
            at += 3
        buffer.used = at // 3
        return min(start, end)


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
    # Not numpy.unique: its first call imports numpy.ma, which takes longer than many an audit.
    pages = np.concatenate(points)
    pages.sort()
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
        Where ranges are appended.
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
    return (_ScanningPagemap if scan else Pagemap)(path, buffer)


@functools.cache
def scan_unavailable() -> str | None:
    """Say why `PAGEMAP_SCAN` can't be used here; None when it can. Asked by using it on a page of this process."""
    buffer = ScanBuffer(_ANSWER)
    start = buffer.next_address - buffer.next_address % _PAGE
    buffer.rows[0] = 0
    try:
        with _ScanningPagemap("/proc/self/pagemap", buffer) as pagemap:
            pagemap.scan(start, start + _PAGE)
    except CapabilityError as error:
        return str(error)
    except OSError as error:
        return f"PAGEMAP_SCAN: {os.strerror(error.errno or errno.EINVAL)} (Linux has it since 6.7)"
    if buffer.used != 1 or buffer.rows[0, 0] != start:
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
        Addresses to look at; contiguous.

    Returns
    -------
    ndarray of bool, or None
        True where a page of memory is mapped. False says little: nothing mapped, swapped out, the zero page.
        None where the kernel doesn't answer (no NUMA support, not allowed, the process has ended).
    """
    if _MOVE_PAGES is None:
        return None
    status = np.empty(len(addresses), np.int32)
    where, answer = addresses.__array_interface__["data"][0], status.__array_interface__["data"][0]
    return status >= 0 if _SYSCALL(_MOVE_PAGES, pid, len(addresses), where, 0, answer, 0) == 0 else None
