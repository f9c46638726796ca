"""Page faults that processes have taken, from ``/proc/PID/stat``.

A *minor* fault was served from memory, a *major* one waited for a disk. ``minflt`` is what ``getrusage`` calls
``ru_minflt``: all threads of the process since it started, those that ended included. Limits:

* It counts faults, not pages: fault-around maps up to 16 pages in one, a huge page 512.
* Faults that the kernel takes on behalf of the process (``MAP_POPULATE``, ``MADV_POPULATE_READ``, ``mlock``) are in it as
  well, with the same fault-around; the perf event ``page-faults`` leaves those out (``mm_account_fault`` in the kernel).
* The fault that links a late attacher to the tables of an mshare region is *not* in it; the perf event ``page-faults``
  sees that one.
* A fault that had to be retried is counted once, when it is done.
* Everything since the start is in it: take the difference of two readings.

Any user may read it of any process, unless ``/proc`` is mounted with ``hidepid``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CellFailed
from mshare_bench.real.counters.procfs import read_process_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["FaultCounts", "faults"]


@dataclass(frozen=True, slots=True)
class FaultCounts:
    """
    Faults of some processes since each started.

    Attributes
    ----------
    minor, major : ndarray of int64, shape (processes,)
        Counts in the order in which the pids were given.
    """

    minor: NDArray[np.int64]
    major: NDArray[np.int64]


def faults(pids: Sequence[int]) -> FaultCounts:
    """
    Read the fault counts of processes.

    Parameters
    ----------
    pids : sequence of int
        The processes; all must still be there (zombies are: their counts stay readable).

    Raises
    ------
    CellFailed
        When one is gone.
    """
    minor = np.empty(len(pids), dtype=np.int64)
    major = np.empty(len(pids), dtype=np.int64)
    for at, pid in enumerate(pids):
        data = read_process_file(pid, "stat")
        if data is None:
            raise CellFailed(f"process {pid} ended before its faults were read")
        # Fields 3.. follow the last ")": state ppid pgrp session tty tpgid flags minflt cminflt majflt.
        fields = data[data.rfind(b")") + 2 :].split(None, 10)
        minor[at] = int(fields[7])
        major[at] = int(fields[9])
    return FaultCounts(minor, major)


def _unavailable() -> str | None:
    return None if read_process_file(1, "stat") is not None else "/proc/PID/stat cannot be read"


register(
    Counter(
        "minor_faults",
        "fault",
        "process",
        "faults served from memory since the processes started",
        _unavailable,
        lambda pids: int(faults(pids).minor.sum()),
    )
)
register(
    Counter(
        "major_faults",
        "fault",
        "process",
        "faults that waited for a disk since the processes started",
        _unavailable,
        lambda pids: int(faults(pids).major.sum()),
    )
)
