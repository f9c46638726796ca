import os
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters import page_tables as module
from mshare_bench.real.counters.page_tables import node_page_tables, page_tables, refresh, settle
from tests.real.counters.agents import python_child


def _meminfo(key):
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def test_reads_what_meminfo_shows():
    # Other processes come and go: a reading lies between the two readings around it, or near them.
    low, high = 0, -1
    for _ in range(50):
        before, reading, after = _meminfo("PageTables"), page_tables(), _meminfo("PageTables")
        low, high = sorted((before, after))
        if low <= reading.page_table_bytes <= high:
            return
    pytest.fail(f"PageTables {reading.page_table_bytes} never lay between {low} and {high}")


def test_secondary_tables_are_their_own_line():
    assert page_tables().secondary_bytes == _meminfo("SecPageTables")


def test_refresh_says_whether_it_was_allowed():
    assert refresh() == os.access("/proc/sys/vm/stat_refresh", os.W_OK)
    assert page_tables().refreshed == refresh()


def test_tables_of_a_new_process_show_and_go_away():
    body = """
size = 1 << 30
m = mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x4000)
for at in range(0, size, 2 << 20):
    m[at] = 1
ready()
"""
    before = settle(tolerance_bytes=64 << 10).page_table_bytes
    with python_child(body) as child:
        during = page_tables().page_table_bytes
        assert status(child.pid) > 512 * 4096
    after = settle(tolerance_bytes=64 << 10).page_table_bytes
    # 512 PTE pages, 2 MiB, against other people's noise of at most half of that.
    assert during - before > 1 << 20
    assert during - after > 1 << 20


def status(pid):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPTE:"))


def test_settle_waits_for_quiet_and_gives_up(monkeypatch):
    steady = module.PageTables(100, None, True)
    readings = iter([module.PageTables(value, None, True) for value in (300, 200)])
    monkeypatch.setattr(module, "page_tables", lambda: next(readings, steady))
    assert settle(timeout_s=5, quiet_s=0.02) == module.PageTables(100, None, True, settled=True)

    moving = iter(range(10**9))
    monkeypatch.setattr(module, "page_tables", lambda: module.PageTables(next(moving), None, True))
    assert not settle(timeout_s=0.05, quiet_s=0.02).settled
    assert settle(timeout_s=5, quiet_s=0.02, tolerance_bytes=10**9).settled


def test_nodes_add_up_to_the_machine():
    nodes = node_page_tables()
    if not nodes:
        pytest.skip("this kernel shows no NUMA nodes")
    refresh()
    assert set(nodes) == {int(folder.name[4:]) for folder in Path("/sys/devices/system/node").glob("node*")}
    total = page_tables().page_table_bytes
    assert abs(sum(node_page_tables().values()) - total) < max(total // 2, 1 << 20)


def test_no_meminfo_is_a_named_lack(monkeypatch):
    monkeypatch.setattr(module, "read_file", lambda path: b"MemTotal: 3 kB\n")
    with pytest.raises(CapabilityError, match="PageTables"):
        page_tables()
