import os
import resource

import pytest

from mshare_bench.errors import CellFailed
from mshare_bench.real.counters.faults import faults
from tests.real.counters.agents import python_child


def test_the_same_as_getrusage():
    for _ in range(50):
        before = resource.getrusage(resource.RUSAGE_SELF)
        counts = faults([os.getpid()])
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert before.ru_minflt <= counts.minor[0] <= after.ru_minflt
        assert before.ru_majflt <= counts.major[0] <= after.ru_majflt


def test_each_written_page_is_one_fault():
    body = """
import resource
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
m = mmap.mmap(-1, 1000 * 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
print(0, flush=True)
sys.stdin.readline()
for at in range(0, len(m), 4096):
    m[at] = 1
ready()
"""
    with python_child(body) as child:
        before = faults([child.pid]).minor[0]
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        after = faults([child.pid]).minor[0]
    # The interpreter itself may touch a few new pages of its own on the way; never the thousand.
    assert 1000 <= after - before < 1050


def test_order_of_the_pids_is_kept_and_a_dead_one_is_named():
    with python_child("x = bytearray(8 << 20)\nready()") as child:
        both = faults([child.pid, os.getpid()])
        turned = faults([os.getpid(), child.pid])
        assert both.minor[0] == turned.minor[1]
    with pytest.raises(CellFailed, match=str(child.pid)):
        faults([child.pid])
