import os

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters import numa_maps as module
from mshare_bench.real.counters.numa_maps import mapping_nodes, numa_maps, unavailable
from tests.real.counters.agents import python_child
from tests.requirements import require

_BODY = """
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
base, size = 0x5000_0000_0000, 4 << 20
assert libc.mmap(base, size, 3, 0x100000 | 0x20 | 0x01, -1, 0) == base
for page in range(10):
    ctypes.memset(base + page * 4096, 1, 1)
ready(base, size)
"""


@pytest.mark.kernel
def test_pages_of_a_mapping_by_node():
    require("kernel", unavailable() is None, str(unavailable()))
    with python_child(_BODY) as child:
        base, size = child.values
        nodes = mapping_nodes(child.pid, base, size)
        assert sum(nodes.values()) == 10 * 4096
        assert set(nodes) <= {int(name[4:]) for name in os.listdir("/sys/devices/system/node") if name[4:].isdigit()}
        assert mapping_nodes(child.pid, base + 8192, 4096) == nodes  # an address inside finds its mapping
        assert next(line for line in numa_maps(child.pid) if line.start == base).policy == "default"
        with pytest.raises(CapabilityError, match="0x1000"):
            mapping_nodes(child.pid, 0x1000, 4096)
    with pytest.raises(CellFailed, match=str(child.pid)):
        numa_maps(child.pid)


def test_hugetlb_pages_and_several_nodes(monkeypatch):
    text = (
        b"7f0000000000 interleave:0-1 file=/anon_hugepage\\040(deleted) huge dirty=6 N0=4 N1=2 kernelpagesize_kB=2048\n"
        b"7f0001000000 bind:1 anon=3 dirty=3 active=0 N1=3 kernelpagesize_kB=4\n"
        b"7f0002000000 default file=/lib/N0=7/x\n"
    )
    monkeypatch.setattr(module, "read_process_file", lambda pid, name: text)
    first, second, third = numa_maps(1)
    assert (first.policy, first.page_bytes, first.pages) == ("interleave:0-1", 2 << 20, {0: 4, 1: 2})
    assert second.node_bytes == {1: 3 * 4096}
    assert third.pages == {}
    assert mapping_nodes(1, 0x7F0000000000, 0x1001000) == {0: 8 << 20, 1: (4 << 20) + 3 * 4096}


def test_a_kernel_without_it_says_so(monkeypatch):
    monkeypatch.setattr(module, "read_process_file", lambda pid, name: None)
    assert "CONFIG_NUMA" in unavailable()
    with pytest.raises(CapabilityError, match="CONFIG_NUMA"):
        numa_maps(1)
