"""Event counts of the whole machine since it started, from ``/proc/vmstat``.

What they are good for is the difference over a run:

* ``oom_kill``: the OOM killer took a process. It does so *after* processes have reported, and the run looks normal: a
  difference of 1 voids it.
* ``thp_fault_alloc``, ``thp_file_mapped``, ``thp_split_pmd``, ...: whether huge pages came about or fell apart.
* ``numa_pages_migrated``, ``numa_hint_faults``: whether NUMA balancing was at work.
* ``pgmigrate_success``, ``compact_stall``: whether memory was moved, for hugepages most of all.
* ``pgfault``, ``pgmajfault``: faults of everybody.

Limits: they are everybody's, not only ours; which names there are depends on the kernel's version and configuration. An
OOM kill inside a memory cgroup is counted here and in the group (:func:`mshare_bench.real.cgroups.memory_cgroup`).
"""

from collections.abc import Mapping

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import read_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["increments", "oom_kills", "vmstat"]


def vmstat() -> dict[str, int]:
    """
    Read all of ``/proc/vmstat``.

    Returns
    -------
    dict of str to int
        By the kernel's own names. Most are events since the start; those that begin with ``nr_`` are pages right now.

    Raises
    ------
    CapabilityError
        When there is no ``/proc/vmstat``.
    """
    data = read_file("/proc/vmstat")
    if data is None:
        raise CapabilityError("this kernel has no /proc/vmstat")
    fields = data.split()
    return {name.decode(): int(value) for name, value in zip(fields[::2], fields[1::2], strict=True)}


def increments(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """
    Subtract two readings and keep what moved.

    Returns
    -------
    dict of str to int
        ``after - before`` of the events that both have and that differ; the ``nr_...`` amounts are left out.
    """
    return {
        name: value - before[name]
        for name, value in after.items()
        if name in before and value != before[name] and not name.startswith("nr_")
    }


def oom_kills() -> int | None:
    """How many processes the OOM killer has taken since the machine started; None before Linux 4.13."""
    return vmstat().get("oom_kill")


def _unavailable() -> str | None:
    try:
        return None if oom_kills() is not None else "/proc/vmstat shows no oom_kill"
    except CapabilityError as error:
        return str(error)


register(
    Counter(
        "oom_kills",
        "event",
        "system",
        "processes that the OOM killer has taken since the machine started",
        _unavailable,
        lambda _pids: oom_kills(),
    )
)
