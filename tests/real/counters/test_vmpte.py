import os

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.vmpte import (
    kcmp_unavailable,
    representatives,
    same_mm,
    status_bytes,
    vm_bytes,
    vm_pte_bytes,
)
from tests.real.counters.agents import python_child, sharing_child

# 64 MiB inside one 1 GiB slot, one page of each 2 MiB touched: 32 PTE pages, a PMD page and a PUD page of its own.
_SPARSE = """
size, base = 64 << 20, 0x5000_0000_0000
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
def pte():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmPTE")).split()[1])
pte()
before = pte()
at = libc.mmap(base, size, 3, 0x100000 | 0x20 | 0x01, -1, 0)
assert at == base
for offset in range(0, size, 2 << 20):
    ctypes.memset(base + offset, 1, 1)
ready(before, pte())
"""


def _proc_kib(pid, field):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def test_vm_pte_is_what_proc_shows_and_what_the_arithmetic_says():
    with python_child(_SPARSE) as child:
        before, after = child.values
        assert vm_bytes([child.pid]).tolist() == [_proc_kib(child.pid, "VmPTE") * 1024]
        assert vm_bytes([child.pid])[0] == after * 1024
        assert after - before == 4 * (32 + 1 + 1)
        assert vm_bytes([child.pid], "VmRSS")[0] == _proc_kib(child.pid, "VmRSS") * 1024


def test_status_of_one_process():
    with python_child("ready()") as child:
        vm_pte, nothing = status_bytes(child.pid, ("VmPTE", "VmNothing"))
        assert vm_pte == _proc_kib(child.pid, "VmPTE") * 1024
        assert nothing is None
    assert status_bytes(child.pid, ("VmPTE",)) is None


def test_a_process_that_ended_is_named():
    with python_child("ready()") as child:
        pass
    with pytest.raises(CellFailed, match=str(child.pid)):
        vm_bytes([os.getpid(), child.pid])


def test_a_zombie_has_ended_too():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(CellFailed, match=str(child)):
            vm_bytes([child])
    finally:
        os.waitpid(child, 0)


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(CapabilityError, match="VmNothing"):
        vm_bytes([os.getpid()], "VmNothing")


@pytest.mark.skipif(kcmp_unavailable() is not None, reason=f"kcmp: {kcmp_unavailable()}")
def test_processes_on_one_address_space_count_once():
    me = os.getpid()
    with sharing_child() as sharer, python_child("ready()") as other:
        assert same_mm(me, sharer)
        assert not same_mm(me, other.pid)
        assert representatives([other.pid, sharer, me, other.pid]) == [other.pid, sharer]
        assert representatives([me, sharer, other.pid]) == [me, other.pid]
        both = vm_bytes([me, other.pid]).sum()
        assert vm_pte_bytes([me, sharer, other.pid]) == both
        assert vm_pte_bytes([me, sharer, other.pid], distinct=True) == both + vm_bytes([me])[0]


@pytest.mark.skipif(kcmp_unavailable() is not None, reason=f"kcmp: {kcmp_unavailable()}")
def test_comparing_with_a_process_that_ended_is_an_error():
    with python_child("ready()") as child:
        pass
    with pytest.raises(CellFailed, match=str(child.pid)):
        same_mm(os.getpid(), child.pid)
