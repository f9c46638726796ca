"""TLB shootdowns, from the ``TLB`` row of ``/proc/interrupts``.

When a page-table entry goes away or loses rights, the CPUs that may have it cached are interrupted. The row counts these
interrupts where they arrive, per CPU: one ``munmap`` on a process that has run on n CPUs is up to n - 1 of them. Limits:

* x86 only. arm64 broadcasts invalidations in hardware (TLBI) and has no such row: then it is None, not 0.
* x86 processors with INVLPGB broadcast as well on new kernels; the row then stays still although TLBs are flushed.
* CPUs in lazy TLB mode and address spaces that run on one CPU need no interrupt; under some hypervisors a
  paravirtual flush replaces it.
* It is everybody's, not only ours.
"""

from mshare_bench.real.counters.procfs import read_text
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["tlb_shootdowns", "unavailable"]


def tlb_shootdowns() -> list[int] | None:
    """
    Read the shootdown interrupts that each CPU has received since the machine started.

    Returns
    -------
    list of int or None
        One count per online CPU; None where the architecture does not count them.
    """
    text = read_text("/proc/interrupts") or ""
    lines = text.splitlines()
    row = next((line.split() for line in lines if line.lstrip().startswith("TLB:")), None)
    if row is None:
        return None
    return [int(count) for count in row[1 : 1 + len(lines[0].split())]]


def unavailable() -> str | None:
    """Say why shootdowns can't be counted here; None when they can."""
    return None if tlb_shootdowns() is not None else "/proc/interrupts has no TLB row (not x86)"


def _total() -> int | None:
    counts = tlb_shootdowns()
    return None if counts is None else sum(counts)


register(
    Counter(
        "tlb_shootdowns",
        "event",
        "system",
        "TLB shootdown interrupts received by all CPUs since the machine started",
        unavailable,
        lambda _pids: _total(),
    )
)
