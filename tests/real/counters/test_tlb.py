"""TLB counters: which events they are by processor, and that they count what children do, tested with software events."""

import mmap
import os

import pytest

from mshare_bench.real.counters import tlb as module
from mshare_bench.real.counters.perf import event_unavailable
from mshare_bench.real.counters.tlb import TlbCounters, TlbReading, miss_events, walk_events
from tests.requirements import require


def _cpuinfo(vendor: str, family: int, model: int) -> str:
    return f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: x\n"


@pytest.mark.parametrize(
    ("cpuinfo", "misses", "walks"),
    [
        (_cpuinfo("GenuineIntel", 6, 85), ("dTLB-load-misses", "dTLB-store-misses"), ("raw:0x1008", "raw:0x1049")),
        (_cpuinfo("GenuineIntel", 6, 143), ("dTLB-load-misses", "dTLB-store-misses"), ("raw:0x1012", "raw:0x1013")),
        (_cpuinfo("GenuineIntel", 6, 15), ("dTLB-load-misses", "dTLB-store-misses"), ()),
        (_cpuinfo("AuthenticAMD", 25, 17), ("raw:0xf045",), ()),
        ("processor\t: 0\nCPU implementer\t: 0x41\n", ("dTLB-load-misses", "dTLB-store-misses"), ()),
    ],
)
def test_events_follow_the_processor(cpuinfo: str, misses: tuple[str, ...], walks: tuple[str, ...]) -> None:
    assert (miss_events(cpuinfo), walk_events(cpuinfo)) == (misses, walks)


def test_what_cannot_be_counted_is_none_and_not_zero() -> None:
    with TlbCounters(os.getpid(), misses=["raw:0xffffffff"], walks=[]) as counters, counters.counting():
        pass
    if event_unavailable("raw:0xffffffff") is not None:
        assert counters.read() == TlbReading(None, None, False)


@pytest.mark.kernel
def test_children_are_counted_while_it_is_asked_for_and_summed_over_events() -> None:
    reason = event_unavailable("page-faults")
    require("kernel", reason is None, str(reason))
    with TlbCounters(os.getpid(), misses=["page-faults", "minor-faults"], walks=["minor-faults"]) as counters:
        ready, go, done = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            _touch(500)  # before it counts
            os.write(ready[1], b".")
            os.read(go[0], 1)
            _touch(1000)
            os.write(done[1], b".")
            os.read(go[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        with counters.counting():
            os.write(go[1], b".")
            os.read(done[0], 1)
        found = counters.read()
        os.write(go[1], b".")
        os.waitpid(child, 0)
    for pair in (ready, go, done):
        for descriptor in pair:
            os.close(descriptor)
    assert found.walk_cycles is not None
    assert 1000 <= found.walk_cycles < 1100
    assert found.misses == 2 * found.walk_cycles
    assert not found.multiplexed


def test_without_descriptors_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise module.CapabilityError("no descriptors")

    monkeypatch.setattr(module, "event_unavailable", lambda _: None)
    monkeypatch.setattr(module, "PerfEvents", full)
    with TlbCounters(os.getpid()) as counters, counters.counting():
        pass
    assert counters.read() == TlbReading()


def _touch(pages: int) -> None:
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as region:
        for at in range(0, len(region), mmap.PAGESIZE):
            region[at] = 1
