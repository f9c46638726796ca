"""The kernel's own counters, one module each; the docstring of a module says what its counter can and cannot tell.

====================  ===========================================================================================
module                what it reads
====================  ===========================================================================================
:mod:`.vmpte`         ``VmPTE``, ``VmRSS`` ... of many processes; which of them share one address space
:mod:`.page_tables`   ``PageTables`` of the machine and of each NUMA node
:mod:`.memcg`         what a memory cgroup (v1 or v2) is charged
:mod:`.faults`        minor and major faults of many processes
:mod:`.smaps`         what one mapping of one process holds, by address
:mod:`.numa_maps`     on which NUMA node the pages of a mapping are
:mod:`.vmstat`        event counts of the machine: OOM kills, huge pages, NUMA balancing
:mod:`.ksm`           what KSM has merged, and what it keeps for that
:mod:`.interrupts`    TLB shootdown interrupts
:mod:`.perf`          software and hardware events that must be opened before the work
====================  ===========================================================================================
"""

from mshare_bench.real.counters.registry import Counter, Scope, counters

__all__ = ["Counter", "Scope", "counters"]
