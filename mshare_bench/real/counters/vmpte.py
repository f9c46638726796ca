"""Page-table and memory sizes of many processes, from ``/proc/PID/status``.

``VmPTE`` is the kernel's own count of page-table pages of an address space (an *mm*): PTE, PMD and PUD pages (and P4D
pages with 5-level tables), not the PGD. It is exact and in bytes a multiple of the page size. Limits:

* It has a base: 36-44 KiB for a tiny static process (its code, stack and vdso). Take the base of the same process before
  the mapping, or of a process without it; never a constant.
* It belongs to the *mm*, not to the pid: of processes that share one (``clone(CLONE_VM)``), each shows the whole.
  Summing over pids then counts the tables several times. :func:`representatives` picks one pid per mm.
* It does not see hugetlb PMD sharing: every sharer still counts the table. The system-wide ``PageTables`` does.
* Tables of an mshare region belong to the region's own mm and are in nobody's ``VmPTE``.
* Tables that are empty again (after a truncate) are still allocated and still counted.
* Kernel threads and zombies have no mm and no ``Vm...`` lines.

Any user may read the ``status`` of any process, unless ``/proc`` is mounted with ``hidepid``. Comparing mms uses
``kcmp(2)`` and needs CONFIG_KCMP and the right to trace both processes (own processes: yes).
"""

import ctypes
import errno
import functools
import itertools
import os
import platform
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.procfs import keyed_kib, read_process_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["compare_mm", "kcmp_unavailable", "representatives", "same_mm", "status_bytes", "vm_bytes", "vm_pte_bytes"]

_KCMP_VM = 1
# From the kernel's syscall tables: x86-64 has its own, later architectures share asm-generic.
_KCMP_SYSCALL = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}.get(platform.machine())
# No argument types: all are C ints, what ctypes takes integers for anyway, and converting by type takes longer than the call.
_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall


def status_bytes(pid: int, fields: Sequence[str]) -> tuple[int | None, ...] | None:
    """
    Read some ``... kB`` fields of ``/proc/PID/status``.

    Parameters
    ----------
    pid : int
        The process.
    fields : sequence of str
        Names such as ``VmPTE``, ``VmRSS``, ``RssShmem``, ``HugetlbPages``.

    Returns
    -------
    tuple of (int or None), or None
        Bytes per field, None for a field that this process does not show (a kernel thread, an older kernel); None
        altogether when there is no such process.
    """
    data = read_process_file(pid, "status")
    if data is None:
        return None
    return tuple(keyed_kib(data, field.encode()) for field in fields)


def vm_bytes(pids: Sequence[int], field: str = "VmPTE") -> NDArray[np.int64]:
    """
    Read one field of ``/proc/PID/status`` of many processes.

    Parameters
    ----------
    pids : sequence of int
        The processes; all must be alive.
    field : str
        ``VmPTE`` (the default), ``VmRSS``, ``RssAnon``, ``RssShmem``, ``HugetlbPages``, ...

    Returns
    -------
    ndarray of int64, shape (len(pids),)
        Bytes, in the order of `pids`.

    Raises
    ------
    CellFailed
        When a process has ended, so that a sum would miss it.
    CapabilityError
        When the field is not shown or may not be read.
    """
    needle = b"\n" + field.encode() + b":"
    skip = len(needle)
    values = np.empty(len(pids), dtype=np.int64)
    for at, pid in enumerate(pids):
        data = read_process_file(pid, "status")
        if data is None:
            raise CellFailed(f"process {pid} ended before its {field} was read")
        begin = data.find(needle)
        if begin < 0:
            if b"\nState:\tZ" in data or b"\nState:\tX" in data:
                raise CellFailed(f"process {pid} ended before its {field} was read")
            raise CapabilityError(f"/proc/{pid}/status has no {field}")
        values[at] = int(data[begin + skip : data.find(b"kB", begin)])
    return values * 1024


def vm_pte_bytes(pids: Sequence[int], *, distinct: bool = False) -> int:
    """
    Sum the page-table bytes of processes, each address space once.

    Parameters
    ----------
    pids : sequence of int
        The processes; all must be alive.
    distinct : bool
        True when the caller knows that no two of them share an address space (it forked them without CLONE_VM):
        nothing is compared then.

    Returns
    -------
    int
        Bytes of PTE, PMD and PUD pages, base included.

    Raises
    ------
    CellFailed
        When a process has ended.
    CapabilityError
        When address spaces have to be compared and cannot be.
    """
    return int(vm_bytes(pids if distinct else representatives(pids)).sum())


def kcmp_unavailable() -> str | None:
    """Say why two processes cannot be compared by ``kcmp(2)`` here; None when they can."""
    try:
        compare_mm(os.getpid(), os.getpid())
    except CapabilityError as error:
        return str(error)
    return None


def same_mm(first: int, second: int) -> bool:
    """
    Whether two processes share one address space.

    Raises
    ------
    CellFailed
        When one of them has ended.
    CapabilityError
        When ``kcmp`` is not there or not allowed.
    """
    return compare_mm(first, second) == 0


def representatives(pids: Sequence[int]) -> list[int]:
    """
    Pick one process of each address space.

    ``kcmp`` orders mms (by an obfuscated pointer), so that n processes take a sort of n log n calls, not n squared.

    Parameters
    ----------
    pids : sequence of int
        The processes.

    Returns
    -------
    list of int
        The first pid of each distinct mm, in the order of `pids`.

    Raises
    ------
    CellFailed
        When one of them has ended.
    CapabilityError
        When ``kcmp`` is not there or not allowed.
    """
    unique = list(dict.fromkeys(pids))
    if len(unique) < 2:
        return unique
    ordered = sorted(unique, key=functools.cmp_to_key(compare_mm))
    # The sort is stable, so the first of a run of equals is the first in the caller's order as well.
    kept = {ordered[0]}
    for before, pid in itertools.pairwise(ordered):
        if compare_mm(before, pid) != 0:
            kept.add(pid)
    return [pid for pid in unique if pid in kept]


def compare_mm(first: int, second: int) -> int:
    """
    Order two processes by their address space, for a sort that brings those that share one together.

    Returns
    -------
    int
        0 when they share one; -1 or 1 otherwise, an order that means nothing else and holds for one boot.

    Raises
    ------
    CellFailed
        When one of them has ended.
    CapabilityError
        When ``kcmp`` is not there or not allowed.
    """
    # kcmp(2): 0 equal, 1 less, 2 greater, 3 not equal and without an order.
    if _KCMP_SYSCALL is None:
        raise CapabilityError(f"kcmp: system call number not known for {platform.machine()}")
    result = _SYSCALL(_KCMP_SYSCALL, first, second, _KCMP_VM, 0, 0)
    if result == 0:
        return 0
    if result == 1:
        return -1
    if result == 2:
        return 1
    code = ctypes.get_errno()
    if code == errno.ESRCH:
        raise CellFailed(f"process {first} or {second} ended before their address spaces were compared")
    reason = "no order of address spaces on this kernel" if result == 3 else os.strerror(code)
    raise CapabilityError(f"kcmp of processes {first} and {second}: {reason}")


def _unavailable() -> str | None:
    read = status_bytes(os.getpid(), ("VmPTE",))
    return None if read is not None and read[0] is not None else "/proc/PID/status shows no VmPTE"


register(
    Counter(
        "vm_pte",
        "byte",
        "process",
        "page-table pages of the processes, each address space once, base included",
        _unavailable,
        lambda pids: vm_pte_bytes(pids),
    )
)
