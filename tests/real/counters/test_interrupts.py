import os
import platform

import pytest

from mshare_bench.real.counters import interrupts as module
from mshare_bench.real.counters.interrupts import tlb_shootdowns, unavailable

_TABLE = """           CPU0       CPU1       CPU3
  0:         36          0          0  IR-IO-APIC    2-edge      timer
TLB:       4068       3255         12   TLB shootdowns
ERR:          0
"""


def test_one_count_per_cpu(monkeypatch):
    monkeypatch.setattr(module, "read_text", lambda path: _TABLE)
    assert tlb_shootdowns() == [4068, 3255, 12]
    assert unavailable() is None


def test_without_the_row_it_is_none_and_not_zero(monkeypatch):
    monkeypatch.setattr(module, "read_text", lambda path: "     CPU0\n  0:   36  timer\n")
    assert tlb_shootdowns() is None
    assert module._total() is None
    assert "TLB" in unavailable()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the TLB row is x86's")
def test_this_machine():
    with open("/proc/interrupts") as table:
        before = next(line for line in table if line.lstrip().startswith("TLB:"))
    counts = tlb_shootdowns()
    shown = [int(word) for word in before.split()[1 : 1 + len(counts)]]
    assert len(counts) <= os.cpu_count()
    assert all(now >= then for now, then in zip(counts, shown, strict=True))
    assert sum(counts) < sum(shown) + 100_000
