"""What one mapping of one process holds, from ``/proc/PID/smaps``, found by its address.

This is where a mapping shows by which kind of page it is mapped: ``AnonHugePages``, ``ShmemPmdMapped`` and
``FilePmdMapped`` are bytes that a PMD entry maps, ``Shared_Hugetlb`` and ``Private_Hugetlb`` the hugetlb pages (which are
in no other field). ``FilePmdMapped`` is what tells whether a file's large folios replaced its PTE tables. Limits:

* Reading walks the page tables of the whole process under its mmap lock: slow for a large one, and it delays its faults.
  Read it after the timed phases, and of one process of each kind.
* A mapping can be several VMAs (after ``mprotect``, ``madvise``, NUMA policies): ask for the address range; the fields of
  the VMAs are added up. A VMA that is only partly in the range is counted whole.
* ``Pss`` divides a page by the number of its mappers at that moment.
* With hugetlb PMD sharing, ``Shared_Hugetlb`` says that pages are shared, not that their table is.
* Pages of an mshare window show in ``Rss`` only once this process has touched them.
* The kernel needs the right to trace the process.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.procfs import read_process_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["MappingSizes", "mapping_sizes", "mappings"]

_HEADER = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)[ \t]*(.*)$")


@dataclass(frozen=True, slots=True)
class MappingSizes:
    """
    One VMA, or several that were added up.

    Attributes
    ----------
    start, end : int
        First address, and the one after the last.
    permissions : str
        As in ``/proc/PID/maps``: ``rw-s``; of the first VMA where several were added up.
    offset : int
        Offset in the file, bytes.
    path : str
        The file, ``/memfd:name (deleted)``, ``[heap]`` or empty.
    sizes : dict of str to int
        The kernel's fields in bytes: ``Rss``, ``Pss``, ``FilePmdMapped``, ``ShmemPmdMapped``, ``Shared_Hugetlb``, ...
        A field that this kernel does not print is not in it.
    flags : frozenset of str
        ``VmFlags``: ``sh`` shared, ``ht`` hugetlb, ``dd`` not dumped, ``hg`` MADV_HUGEPAGE, ``mg`` mergeable, ...
        Those that all VMAs have.
    """

    start: int
    end: int
    permissions: str
    offset: int
    path: str
    sizes: dict[str, int]
    flags: frozenset[str]


def mappings(pid: int) -> list[MappingSizes]:
    """
    Read every mapping of a process.

    Returns
    -------
    list of MappingSizes
        One per VMA, in the order of the addresses.

    Raises
    ------
    CellFailed
        When the process has ended.
    CapabilityError
        When its ``smaps`` may not be read.
    """
    data = read_process_file(pid, "smaps")
    # Without an mm (a zombie, a kernel thread) the file is there and empty.
    if not data:
        raise CellFailed(f"process {pid} ended before its smaps were read")
    found: list[MappingSizes] = []
    for line in data.splitlines():
        header = _HEADER.match(line)
        if header:
            start, end, permissions, offset, _device, _inode, path = header.groups()
            found.append(
                MappingSizes(
                    int(start, 16),
                    int(end, 16),
                    permissions.decode(),
                    int(offset, 16),
                    path.decode("utf-8", "replace"),
                    {},
                    frozenset(),
                )
            )
            continue
        key, _, value = line.partition(b":")
        if value.endswith(b" kB"):
            found[-1].sizes[key.decode()] = int(value[:-3]) * 1024
        elif key == b"VmFlags":
            last = found.pop()
            flags = frozenset(value.decode().split())
            found.append(
                MappingSizes(last.start, last.end, last.permissions, last.offset, last.path, last.sizes, flags)
            )
    return found


def mapping_sizes(pid: int, start: int, size: int) -> MappingSizes:
    """
    Read what the mapping at an address range holds.

    Parameters
    ----------
    pid : int
        The process.
    start, size : int
        The range in bytes; every VMA that it touches is added up.

    Raises
    ------
    CellFailed
        When the process has ended.
    CapabilityError
        When nothing is mapped there, or ``smaps`` may not be read.
    """
    parts = [part for part in mappings(pid) if part.start < start + size and part.end > start]
    if not parts:
        raise CapabilityError(f"process {pid} has nothing mapped at {start:#x}")
    return _sum(parts)


def _sum(parts: Sequence[MappingSizes]) -> MappingSizes:
    first = parts[0]
    # Page sizes are a property of the mapping, not an amount.
    sizes = {
        key: first.sizes[key] if key.endswith("PageSize") else sum(part.sizes.get(key, 0) for part in parts)
        for key in first.sizes
    }
    flags = frozenset.intersection(*(part.flags for part in parts))
    return MappingSizes(first.start, parts[-1].end, first.permissions, first.offset, first.path, sizes, flags)


def _total(pids: Sequence[int], *fields: str) -> int:
    return sum(part.sizes.get(field, 0) for pid in pids for part in mappings(pid) for field in fields)


def _unavailable() -> str | None:
    return None if read_process_file(os.getpid(), "smaps") else "this kernel has no /proc/PID/smaps"


register(
    Counter(
        "pmd_mapped",
        "byte",
        "process",
        "bytes of transparent huge pages that a PMD entry maps, summed over the processes",
        _unavailable,
        lambda pids: _total(pids, "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"),
    )
)
register(
    Counter(
        "hugetlb_mapped",
        "byte",
        "process",
        "bytes of hugetlb pages that are mapped, summed over the processes",
        _unavailable,
        lambda pids: _total(pids, "Shared_Hugetlb", "Private_Hugetlb"),
    )
)
