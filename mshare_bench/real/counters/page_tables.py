"""Page-table pages of the whole machine, from ``/proc/meminfo``, and of each NUMA node.

``PageTables`` counts every page-table page of user address spaces, a shared one once, so it sees what ``VmPTE`` cannot:
hugetlb PMD sharing and the tables of an mshare region. ``SecPageTables`` are secondary tables (KVM, IOMMU). Limits:

* The kernel adds up per CPU and in batches. Writing ``/proc/sys/vm/stat_refresh`` folds the batches in; only root may.
  Without that a reading may lag by up to 125 pages per CPU.
* It counts everybody's tables: 0.5 to 4 MiB of noise on a quiet machine from processes that come and go. A difference
  below 20 times the noise, measured in an empty run, says nothing.
* Tables of a process that has just ended go away a little after ``wait`` returns: :func:`settle` waits for that.
* PGD pages are not in it (checked on Linux 6.18, x86-64): launching a process alone adds only its small base.

Per node the same counter stands in ``/sys/devices/system/node/nodeN/meminfo``; the nodes add up to the total.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import keyed_kib, read_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["PageTables", "node_page_tables", "page_tables", "refresh", "settle"]

_REFRESH = "/proc/sys/vm/stat_refresh"
_NODES = Path("/sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class PageTables:
    """
    One reading of the machine's page tables.

    Attributes
    ----------
    page_table_bytes : int
        ``PageTables``: tables of user address spaces.
    secondary_bytes : int or None
        ``SecPageTables``: tables of KVM and IOMMUs; None before Linux 6.1.
    refreshed : bool
        Whether the per-CPU batches were folded in before. False: the figure may lag.
    settled : bool
        Whether it stood still for the time asked of :func:`settle`; a plain reading does not claim that.
    """

    page_table_bytes: int
    secondary_bytes: int | None
    refreshed: bool
    settled: bool = False


def refresh() -> bool:
    """
    Fold the per-CPU batches of the kernel's counters in.

    Returns
    -------
    bool
        False when this user may not or the kernel has no ``stat_refresh``.
    """
    try:
        descriptor = os.open(_REFRESH, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"1\n")
    except OSError:
        # EINVAL says that some counter was negative; the batches are folded in all the same.
        return True
    finally:
        os.close(descriptor)
    return True


def page_tables() -> PageTables:
    """
    Read the page tables of the machine, with the batches folded in where that is allowed.

    Raises
    ------
    CapabilityError
        When ``/proc/meminfo`` cannot be read or shows no ``PageTables``.
    """
    refreshed = refresh()
    data = read_file("/proc/meminfo")
    total = None if data is None else keyed_kib(data, b"PageTables")
    if data is None or total is None:
        raise CapabilityError("/proc/meminfo shows no PageTables")
    return PageTables(total, keyed_kib(data, b"SecPageTables"), refreshed)


def settle(timeout_s: float = 2.0, quiet_s: float = 0.05, tolerance_bytes: int = 0) -> PageTables:
    """
    Read the page tables again and again until they stand still.

    Parameters
    ----------
    timeout_s : float
        Give up waiting after this long; the last reading is returned with ``settled=False``.
    quiet_s : float
        For how long the figure must not move.
    tolerance_bytes : int
        A movement of at most this much counts as none (on a machine with other work it never stands still).

    Returns
    -------
    PageTables
        The last reading.
    """
    now = time.monotonic()
    deadline = now + timeout_s
    reference, since = page_tables(), now
    while True:
        time.sleep(quiet_s / 5)
        reading, now = page_tables(), time.monotonic()
        if abs(reading.page_table_bytes - reference.page_table_bytes) > tolerance_bytes:
            reference, since = reading, now
        elif now - since >= quiet_s:
            return PageTables(reading.page_table_bytes, reading.secondary_bytes, reading.refreshed, settled=True)
        if now >= deadline:
            return reading


def node_page_tables() -> dict[int, int]:
    """
    Read the page tables of each NUMA node.

    Returns
    -------
    dict of int to int
        Bytes by node number; empty where the kernel shows no nodes. Not refreshed: call :func:`refresh` before.
    """
    tables: dict[int, int] = {}
    for folder in _NODES.glob("node[0-9]*"):
        data = read_file(str(folder / "meminfo"))
        total = None if data is None else keyed_kib(data, b"PageTables")
        if total is not None:
            tables[int(folder.name[4:])] = total
    return dict(sorted(tables.items()))


def _unavailable() -> str | None:
    try:
        page_tables()
    except CapabilityError as error:
        return str(error)
    return None


register(
    Counter(
        "page_tables",
        "byte",
        "system",
        "page-table pages of all user address spaces, a shared one once",
        _unavailable,
        lambda _pids: page_tables().page_table_bytes,
    )
)
