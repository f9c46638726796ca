"""What the machine's PageTables is worth: on the running kernel, and on a counter that is made to leave PUD pages out."""

import os

import pytest

from mshare_bench.real import machine_wide
from tests.requirements import require


@pytest.fixture(autouse=True)
def _refreshable():
    require("kernel", os.geteuid() == 0, "folding the counter's batches in takes root")


@pytest.mark.kernel
def test_a_process_moves_the_counter_and_nothing_is_nearly_nothing():
    noise = machine_wide.page_table_noise()
    assert noise is not None
    assert 0 <= noise < 64 << 20
    assert machine_wide.settled() > 0


@pytest.mark.kernel
def test_the_running_kernel_is_told_from_one_without_pud_pages(monkeypatch):
    # Other programs move the counter by some MiB; what is looked for is 8 MiB. Three tries tell.
    found = [machine_wide.counts_pud_pages() for _ in range(3)]
    assert found.count(True) >= 2 or found.count(False) >= 2
    real = machine_wide.settled
    readings = []

    def without_a_third():
        value = real()
        readings.append(value)
        return value if len(readings) % 2 else readings[-2] + (value - readings[-2]) * 2 // 3

    if found.count(True) >= 2:
        monkeypatch.setattr(machine_wide, "settled", without_a_third)
        assert [machine_wide.counts_pud_pages() for _ in range(3)].count(False) >= 2
