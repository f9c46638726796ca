import os
from pathlib import Path

import pytest

from mshare_bench.real.counters import memcg as module
from mshare_bench.real.counters.memcg import GroupMemory, group_memory, memory_headroom, own_groups


def _host(monkeypatch, tmp_path, cgroup, mountinfo):
    """A host with its own /proc/PID/cgroup and mountinfo, its trees below tmp_path."""
    real = module.read_text

    def read(path):
        name = str(path)
        if name.endswith("/cgroup") and name.startswith("/proc/"):
            return cgroup
        return mountinfo.replace("@", str(tmp_path)) if name == "/proc/self/mountinfo" else real(path)

    monkeypatch.setattr(module, "read_text", read)


def _write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_this_process_is_in_the_group_that_is_found():
    groups = own_groups("memory")
    if not groups:
        pytest.skip("no memory controller here")
    assert str(os.getpid()) in (groups[0] / "cgroup.procs").read_text().split()
    assert groups == sorted(groups, reverse=True)


def test_v1_has_no_page_table_counter(tmp_path):
    _write(tmp_path, memory__usage_in_bytes=5000, **{"memory__kmem.usage_in_bytes": 700})
    assert group_memory(tmp_path) == GroupMemory(1, 5000, 700, None, None)


def test_v2_has(tmp_path):
    stat = "anon 10\nkernel 9000\npagetables 8192\nsec_pagetables 0"
    _write(tmp_path, memory__current=20000, memory__stat=stat)
    assert group_memory(tmp_path) == GroupMemory(2, 20000, 9000, 8192, 0)
    _write(tmp_path, memory__stat="anon 10")
    assert group_memory(tmp_path) == GroupMemory(2, 20000, None, None, None)


def test_a_group_that_is_gone(tmp_path):
    assert group_memory(tmp_path / "gone") is None


def test_a_hybrid_host_has_it_in_v1(monkeypatch, tmp_path):
    inner = tmp_path / "memory" / "a" / "b"
    _write(inner)
    _write(tmp_path / "unified", cgroup__controllers="")
    _host(
        monkeypatch,
        tmp_path,
        "9:name=systemd:/\n4:memory:/a/b\n0::/",
        "30 29 0:26 / @/memory rw - cgroup cgroup rw,memory\n31 29 0:27 / @/unified rw - cgroup2 cgroup2 rw",
    )
    assert own_groups("memory") == [inner, tmp_path / "memory" / "a", tmp_path / "memory"]
    assert own_groups("pids") == []


def test_a_v2_host(monkeypatch, tmp_path):
    inner = tmp_path / "user.slice" / "x.scope"
    _write(inner)
    _write(tmp_path, cgroup__controllers="cpu memory pids")
    _host(monkeypatch, tmp_path, "0::/user.slice/x.scope", "31 29 0:27 / @ rw shared:4 - cgroup2 cgroup2 rw,nsdelegate")
    assert own_groups("memory") == [inner, tmp_path / "user.slice", tmp_path]
    assert own_groups("hugetlb") == []


def test_a_container_sees_its_own_group_as_the_top(monkeypatch, tmp_path):
    _write(tmp_path, memory__usage_in_bytes=1)
    _host(monkeypatch, tmp_path, "4:memory:/docker/abc", "30 29 0:26 /docker/abc @ ro - cgroup cgroup rw,memory")
    assert own_groups("memory") == [tmp_path]


def test_no_cgroups_at_all(monkeypatch, tmp_path):
    _host(monkeypatch, tmp_path, "", "1 0 0:1 / / rw - ext4 /dev/x rw")
    assert own_groups("memory") == []
    assert memory_headroom() is None


def test_the_tightest_group_above_sets_the_room(monkeypatch, tmp_path):
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    _write(inner, memory__max="max", memory__current=100, memory__stat="inactive_file 10")
    _write(outer, memory__max=1000, memory__current=700, memory__stat="inactive_file 50\nanon 3")
    monkeypatch.setattr(module, "own_groups", lambda controller="memory": [inner, outer])
    assert memory_headroom() == (350, outer)
    _write(inner, memory__max=200)
    assert memory_headroom() == (110, inner)
    _write(inner, memory__max=2000)
    assert memory_headroom() == (350, outer)


def test_v1s_huge_number_is_no_limit(monkeypatch, tmp_path):
    _write(tmp_path, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=5)
    monkeypatch.setattr(module, "own_groups", lambda controller="memory": [Path(tmp_path)])
    assert memory_headroom() is None
