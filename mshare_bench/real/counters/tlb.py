"""TLB misses and cycles in page walks of a process tree, from the processor's own counters.

Open it on the parent of what will run, before that is forked; children and threads are counted with it (`inherit`)::

    with TlbCounters(parent) as tlb:
        ...fork...
        with tlb.counting():
            ...touch...
        tlb.read()

Which events these are depends on the processor:

* A *TLB miss* is a miss in every level, one that starts a page walk. The kernel's generic ``dTLB-load-misses`` and
  ``dTLB-store-misses`` are that on Intel. On AMD they count misses of the first level; there the misses of the second are taken
  (PMC 0x45, unit mask 0xF0: Processor Programming Reference of family 17h and later, "L1 DTLB Miss").
* *Cycles in walks* have no generic event. Intel counts cycles in which a page miss handler is busy (``WALK_DURATION`` or
  ``WALK_PENDING`` of ``DTLB_LOAD_MISSES`` and ``DTLB_STORE_MISSES``, unit mask 0x10: events 0x08 and 0x49 from Haswell to
  Ice Lake, 0x12 and 0x13 since Golden Cove). AMD has no such counter: then they are None.

Where there is no PMU (many virtual machines) both are None, and nothing is opened.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.perf import EventCount, PerfEvents, event_unavailable
from mshare_bench.real.counters.procfs import read_text

__all__ = ["TlbCounters", "TlbReading", "miss_events", "walk_events"]

_GENERIC = ("dTLB-load-misses", "dTLB-store-misses")
_AMD_MISSES = ("raw:0xf045",)
# Models of family 6 by who names them: Intel's Performance Monitoring Events, "perfmon" repository, mapfile.
_FROM_HASWELL = frozenset({60, 61, 63, 69, 70, 71, 79, 86, 78, 85, 94, 142, 158, 106, 108, 125, 126})
_FROM_GOLDEN_COVE = frozenset({143, 173, 174, 207})


@dataclass(frozen=True, slots=True)
class TlbReading:
    """What was counted; None where it could not be.

    Attributes
    ----------
    misses, walk_cycles
        Over everything below the parent, while it was counted.
    multiplexed
        Whether the kernel took turns with the counters, so that these are scaled up.
    """

    misses: int | None = None
    walk_cycles: int | None = None
    multiplexed: bool = False


class TlbCounters:
    """The counters of a process and of all that it starts from now on.

    Parameters
    ----------
    pid
        The process; its children must not be there yet.
    misses, walks
        Events that are summed; by default those of this processor.
    """

    def __init__(self, pid: int, misses: Sequence[str] | None = None, walks: Sequence[str] | None = None) -> None:
        self._misses = tuple(miss_events() if misses is None else misses)
        self._walks = tuple(walk_events() if walks is None else walks)
        self._events: PerfEvents | None = None
        wanted = [name for name in (*self._misses, *self._walks) if event_unavailable(name) is None]
        if wanted:
            with contextlib.suppress(CapabilityError):  # no descriptors left: nothing is counted, which reads as None
                self._events = PerfEvents(wanted, (pid,), inherit=True)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count while the block runs."""
        if self._events is None:
            yield
            return
        self._events.start()
        yield
        self._events.stop()

    def read(self) -> TlbReading:
        """Read what was counted."""
        if self._events is None:
            return TlbReading()
        counts = {one.name: one for one in self._events.read()}
        known = [one for one in counts.values() if one.count is not None]
        return TlbReading(_sum(self._misses, counts), _sum(self._walks, counts), any(one.multiplexed for one in known))

    def close(self) -> None:
        """Give the counters back."""
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def miss_events(cpuinfo: str | None = None) -> tuple[str, ...]:
    """Events whose sum is the TLB misses that start a walk, on this processor or on that of a `/proc/cpuinfo`."""
    vendor, _, _ = _processor(cpuinfo)
    return _AMD_MISSES if vendor == "AuthenticAMD" else _GENERIC


def walk_events(cpuinfo: str | None = None) -> tuple[str, ...]:
    """Events whose sum is the cycles in page walks; empty where the processor has none, or none that is known here."""
    vendor, family, model = _processor(cpuinfo)
    if vendor == "GenuineIntel" and family == 6 and model in _FROM_HASWELL:
        return ("raw:0x1008", "raw:0x1049")
    if vendor == "GenuineIntel" and family == 6 and model in _FROM_GOLDEN_COVE:
        return ("raw:0x1012", "raw:0x1013")
    return ()


def _processor(cpuinfo: str | None) -> tuple[str, int, int]:
    """Vendor, family and model of the first processor; empty and -1 where it does not say (not x86)."""
    text = read_text("/proc/cpuinfo") or "" if cpuinfo is None else cpuinfo
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip(), value.strip())
    return facts.get("vendor_id", ""), int(facts.get("cpu family", -1)), int(facts.get("model", -1))


def _sum(names: Sequence[str], counts: dict[str, EventCount]) -> int | None:
    """Sum of events; None where one of them was not counted."""
    found = [counts[name].count if name in counts else None for name in names]
    return None if not found or None in found else sum(count for count in found if count is not None)
