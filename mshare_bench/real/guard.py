"""The memory guard: before a real cell starts, what it needs is compared with what the machine can spare.

A machine that runs out of memory does not say so: the OOM killer takes processes *after* they have reported, and the run
looks normal. So a cell that would not fit is refused before its first process starts, with the largest count that fits.

The arithmetic is :func:`check_need` and :func:`largest_processes`, pure functions; :func:`read_host` reads the machine.

What is counted: data, page-table pages, what a process costs beside them, and hugepages, which leave the free memory when
the pool grows. What is compared: ``MemAvailable`` (the kernel's own estimate of what can be had without swapping), or
what the memory cgroup of this process still allows if that is less, minus a reserve; and the number of processes with
``pid_max``, ``threads-max``, the pids cgroup and RLIMIT_NPROC.

Limits: swap is not counted as memory. What other processes allocate after the check is not seen; the reserve is for
that. RLIMIT_NPROC counts threads of the user everywhere, and the kernel lets CAP_SYS_RESOURCE, CAP_SYS_ADMIN and root
pass it.
"""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.errors import CapabilityError, GuardError
from mshare_bench.real.counters.memcg import memory_headroom, own_groups
from mshare_bench.real.counters.procfs import keyed_kib, read_file, read_int, read_text

__all__ = [
    "AGENT_BYTES",
    "DEFAULT_RESERVE_BYTES",
    "HostRoom",
    "Need",
    "check_need",
    "guard",
    "largest_processes",
    "read_host",
]

AGENT_BYTES = 95 * 1024
"""
What an idle, static C agent costs the machine beside its regions: ~40 KiB of page tables, 16 of kernel stack, ~18 of slab
(task, mm, VMAs, files) and ~20 of its own pages, measured on Linux 6.18, x86-64, as MemAvailable per process at 10,000.
"""

DEFAULT_RESERVE_BYTES = 4 << 30

_MAX_PROCESSES = 1 << 22  # PID_MAX_LIMIT of a 64-bit kernel


@dataclass(frozen=True, slots=True)
class Need:
    """
    What a cell takes at its largest moment, in bytes, for one count of processes.

    Attributes
    ----------
    processes : int
        Processes that are alive at once.
    data_bytes : int
        The data in ordinary pages: N copies where the mechanism holds N.
    table_bytes : int
        Page-table pages of the regions over all processes, a shared one once.
    process_bytes : int
        Everything else that a process costs, over all processes.
    hugepage_bytes : int
        Hugepages that the pool has to grow by; not part of `data_bytes`.
    """

    processes: int
    data_bytes: int
    table_bytes: int
    process_bytes: int
    hugepage_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.data_bytes + self.table_bytes + self.process_bytes + self.hugepage_bytes


@dataclass(frozen=True, slots=True)
class HostRoom:
    """
    What the machine has left.

    Attributes
    ----------
    available_bytes : int
        Memory that can be had without swapping.
    memory_limit : str
        Where that figure comes from: ``MemAvailable`` or the cgroup's path.
    free_processes : int
        How many more processes may start.
    process_limit : str
        The limit that `free_processes` comes from, with its value.
    """

    available_bytes: int
    memory_limit: str
    free_processes: int
    process_limit: str


def largest_processes(
    need_of: Callable[[int], Need], room: HostRoom, reserve_bytes: int = DEFAULT_RESERVE_BYTES, most: int | None = None
) -> int:
    """
    Find the largest count of processes that fits.

    Parameters
    ----------
    need_of : callable
        ``need_of(processes)`` for any count >= 1; its total must not fall as the count grows.
    room : HostRoom
        What the machine has left.
    reserve_bytes : int
        What must stay free.
    most : int, optional
        Do not look beyond this count.

    Returns
    -------
    int
        The largest count; 0 when not even one process fits.
    """
    limit = min(room.free_processes, _MAX_PROCESSES if most is None else most)
    budget = room.available_bytes - reserve_bytes
    fits, fails = 0, max(limit, 0) + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if need_of(middle).total_bytes <= budget:
            fits = middle
        else:
            fails = middle
    return fits


def check_need(
    need_of: Callable[[int], Need], processes: int, room: HostRoom, reserve_bytes: int = DEFAULT_RESERVE_BYTES
) -> Need:
    """
    Refuse a cell that does not fit.

    Parameters
    ----------
    need_of : callable
        ``need_of(processes)``, as for :func:`largest_processes`.
    processes : int
        The count that is wanted, >= 1.
    room, reserve_bytes
        As for :func:`largest_processes`.

    Returns
    -------
    Need
        What the cell needs, when it fits.

    Raises
    ------
    GuardError
        When it does not: names the need, what is available, and the largest count that would fit, which is also the
        error's ``largest_processes``.
    """
    need = need_of(processes)
    lacks = []
    if need.total_bytes > room.available_bytes - reserve_bytes:
        parts = [
            f"{label} {_gib(value)}"
            for label, value in (
                ("data", need.data_bytes),
                ("page tables", need.table_bytes),
                ("processes", need.process_bytes),
                ("hugepages", need.hugepage_bytes),
            )
            if value
        ]
        lacks.append(
            f"needs {_gib(need.total_bytes)} ({', '.join(parts)}), {room.memory_limit} has "
            f"{_gib(room.available_bytes)} less a reserve of {_gib(reserve_bytes)}"
        )
    if processes > room.free_processes:
        lacks.append(f"needs {processes} processes, {room.process_limit} leaves {room.free_processes}")
    if not lacks:
        return need
    largest = largest_processes(need_of, room, reserve_bytes, most=processes)
    advice = f"{largest} processes would fit" if largest else "not even one process would fit, only a smaller region="
    raise GuardError(f"processes={processes} {'; '.join(lacks)}; {advice}", largest_processes=largest)


def guard(need_of: Callable[[int], Need], processes: int, reserve_bytes: int = DEFAULT_RESERVE_BYTES) -> Need:
    """Compare a cell with the machine as it is now: :func:`check_need` with :func:`read_host`."""
    return check_need(need_of, processes, read_host(), reserve_bytes)


def read_host() -> HostRoom:
    """
    Read what this machine has left, for this process and its children.

    Raises
    ------
    CapabilityError
        When ``/proc/meminfo`` shows no ``MemAvailable``.
    """
    data = read_file("/proc/meminfo")
    available = None if data is None else keyed_kib(data, b"MemAvailable")
    if available is None:
        raise CapabilityError("/proc/meminfo shows no MemAvailable")
    memory_limit = "MemAvailable"
    headroom = memory_headroom()
    if headroom is not None and headroom[0] < available:
        available, memory_limit = headroom[0], f"memory cgroup {headroom[1]}"
    free, limit = min(_process_limits())
    return HostRoom(available, memory_limit, max(free, 0), limit)


def _process_limits() -> list[tuple[int, str]]:
    # Each limit that holds here, as (what it leaves, its name with its value).
    running = _running_tasks()
    limits = [(_MAX_PROCESSES, f"the kernel's largest pid {_MAX_PROCESSES}")]
    for name in ("pid_max", "threads-max"):
        value = read_int(f"/proc/sys/kernel/{name}")
        if value is not None:
            limits.append((value - running, f"{name} {value}"))
    limits.extend(_pids_cgroup_limits())
    soft, _hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.getuid() != 0:
        limits.append((soft - _tasks_of_user(os.getuid()), f"RLIMIT_NPROC {soft}"))
    return limits


def _running_tasks() -> int:
    # The fourth field of loadavg is "runnable/existing" scheduling entities, which is what pid numbers are given to.
    text = read_text("/proc/loadavg")
    return int(text.split()[3].split("/")[1]) if text else 0


def _tasks_of_user(uid: int) -> int:
    tasks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        status = read_text(folder / "status")
        if status is None:
            continue
        fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
        if fields.get("Uid", "").split()[:1] == [str(uid)]:
            tasks += int(fields.get("Threads", "1"))
    return tasks


def _pids_cgroup_limits() -> list[tuple[int, str]]:
    # Every ancestor's limit holds, not only that of the innermost group.
    limits = []
    for folder in own_groups("pids"):
        most, current = read_text(folder / "pids.max"), read_int(folder / "pids.current")
        if most is not None and most != "max" and current is not None:
            limits.append((int(most) - current, f"pids.max {most} of {folder}"))
    return limits


def _gib(value: int) -> str:
    return f"{value / (1 << 30):.2f} GiB" if value >= 1 << 24 else f"{value / 1024:.0f} KiB"
