import os

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.smaps import mapping_sizes, mappings
from tests.real.counters.agents import python_child

# 4 MiB of shared memory at a fixed address, 10 pages of it touched, with a VMA split in the middle by an mprotect.
_BODY = """
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
base, size = 0x5000_0000_0000, 4 << 20
fd = os.memfd_create("smaps-test")
os.ftruncate(fd, size)
assert libc.mmap(base, size, 3, 0x100000 | 0x01, fd, 0) == base
for page in range(10):
    ctypes.memset(base + page * 4096, 1, 1)
assert libc.mprotect(base + (2 << 20), 2 << 20, 1) == 0
ready(base, size)
"""


def _proc_maps(pid):
    with open(f"/proc/{pid}/maps") as lines:
        return [line.split(None, 5) for line in lines]


def test_the_same_mappings_as_maps():
    with python_child("ready()") as child:
        read, shown = mappings(child.pid), _proc_maps(child.pid)
        assert [f"{part.start:08x}-{part.end:08x}" for part in read] == [fields[0] for fields in shown]
        assert [part.permissions for part in read] == [fields[1] for fields in shown]
        assert [part.offset for part in read] == [int(fields[2], 16) for fields in shown]
        assert [part.path for part in read] == [fields[5].rstrip("\n") if len(fields) > 5 else "" for fields in shown]
        for part in read:
            assert part.sizes["Size"] == part.end - part.start
        with open(f"/proc/{child.pid}/smaps_rollup") as lines:
            rss = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))
        assert sum(part.sizes["Rss"] for part in read) == rss


def test_a_range_over_several_vmas_is_added_up():
    with python_child(_BODY) as child:
        base, size = child.values
        whole = mapping_sizes(child.pid, base, size)
        half = mapping_sizes(child.pid, base + size // 2, 4096)
    assert (whole.start, whole.end) == (base, base + size)
    assert whole.sizes["Size"] == size
    assert whole.sizes["Rss"] == 10 * 4096
    assert whole.sizes["KernelPageSize"] == 4096
    assert whole.permissions == "rw-s"
    assert "smaps-test" in whole.path
    assert {"sh", "rd"} <= whole.flags
    assert "wr" not in whole.flags  # only the first half has it
    assert (half.start, half.sizes["Size"], half.sizes["Rss"]) == (base + size // 2, size // 2, 0)
    assert half.permissions == "r--s"


def test_an_empty_address_and_a_dead_process_are_named():
    with python_child("ready()") as child, pytest.raises(CapabilityError, match="0x1000"):
        mapping_sizes(child.pid, 0x1000, 4096)
    with pytest.raises(CellFailed, match=str(child.pid)):
        mappings(child.pid)
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(CellFailed, match=str(zombie)):
            mappings(zombie)
    finally:
        os.waitpid(zombie, 0)
