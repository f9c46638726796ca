import os
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters import ksm as module
from mshare_bench.real.counters.ksm import ksm_state, process_ksm_state, unavailable
from tests.real.counters.agents import python_child
from tests.requirements import require


@pytest.mark.kernel
def test_the_machine_as_sysfs_shows_it():
    require("kernel", unavailable() is None, str(unavailable()))
    state = ksm_state()
    for name in ("run", "pages_to_scan", "sleep_millisecs", "max_page_sharing"):
        assert state[name] == int(Path("/sys/kernel/mm/ksm", name).read_text())
    assert "advisor_mode" not in state


@pytest.mark.kernel
def test_a_process_as_proc_shows_it():
    require("kernel", os.path.exists("/proc/self/ksm_stat"), "no ksm_stat before Linux 6.1")
    body = """
m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m.madvise(mmap.MADV_MERGEABLE)
ready()
"""
    with python_child(body) as child:
        state = process_ksm_state(child.pid)
        assert state["ksm_rmap_items"] >= 0
        if "ksm_mergeable" in state:
            assert state["ksm_mergeable"] is True
            assert process_ksm_state(os.getpid())["ksm_mergeable"] is False
    with pytest.raises(CellFailed, match=str(child.pid)):
        process_ksm_state(child.pid)


def test_all_layouts_of_ksm_stat(monkeypatch):
    monkeypatch.setattr(module, "read_process_file", lambda pid, name: b"ksm_rmap_items 12\nksm_process_profit -768\n")
    assert process_ksm_state(1) == {"ksm_rmap_items": 12, "ksm_process_profit": -768}
    assert module._rmap_bytes([1, 2]) == (2 * 12 * 64 if unavailable() is None else None)


def test_a_kernel_without_ksm(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "ksm")
    assert str(tmp_path) in unavailable()
    assert ksm_state() == {}
    assert module._rmap_bytes([os.getpid()]) is None


def test_not_allowed_is_an_error(monkeypatch):
    def forbidden(pid, name):
        raise CapabilityError("cannot read /proc/1/ksm_stat: Permission denied")

    monkeypatch.setattr(module, "read_process_file", forbidden)
    with pytest.raises(CapabilityError, match="ksm_stat"):
        process_ksm_state(1)
