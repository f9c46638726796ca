import mmap

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters import vmstat as module
from mshare_bench.real.counters.vmstat import increments, oom_kills, vmstat


def test_the_same_names_and_a_moving_count():
    with open("/proc/vmstat") as lines:
        names = [line.split()[0] for line in lines]
    before = vmstat()
    assert list(before) == names
    with mmap.mmap(-1, 2000 * 4096) as region:
        for at in range(0, len(region), 4096):
            region[at] = 1
    with open("/proc/vmstat") as lines:
        shown = next(int(line.split()[1]) for line in lines if line.startswith("pgfault "))
    moved = increments(before, vmstat())
    assert moved["pgfault"] >= 2000
    assert before["pgfault"] + 2000 <= shown <= before["pgfault"] + increments(before, vmstat())["pgfault"]
    assert not any(name.startswith("nr_") for name in moved)


def test_only_what_moved():
    assert increments({"a": 1, "b": 2, "nr_x": 5}, {"a": 4, "b": 2, "nr_x": 9, "new": 1}) == {"a": 3}


def test_oom_kills_are_the_kernels():
    with open("/proc/vmstat") as lines:
        shown = next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    assert oom_kills() == shown


def test_no_vmstat(monkeypatch):
    monkeypatch.setattr(module, "read_file", lambda path: None)
    with pytest.raises(CapabilityError, match="vmstat"):
        vmstat()
