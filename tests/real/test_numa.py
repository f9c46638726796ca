"""Memory policies and migration on the running kernel; what takes a second node runs in the guest."""

import ctypes
import errno
import mmap
import os

import numpy as np
import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real import numa
from mshare_bench.real.counters.numa_maps import numa_maps
from mshare_bench.real.numa import Mode, Move, bind_file, migrate_pages, move_pages, page_nodes, task_policy
from tests.requirements import require

PAGE = mmap.PAGESIZE
COUNT = 16


@pytest.fixture(autouse=True)
def _policies() -> None:
    require("kernel", numa.unavailable() is None, str(numa.unavailable()))


def _addresses(memory: mmap.mmap) -> np.ndarray:
    start = ctypes.c_char.from_buffer(memory)
    at = ctypes.addressof(start)
    del start
    return at + np.arange(COUNT) * PAGE


def test_a_page_has_a_node_once_it_is_touched() -> None:
    with mmap.mmap(-1, COUNT * PAGE) as memory:
        at = _addresses(memory)
        memory[0] = memory[5 * PAGE] = 1
        nodes = page_nodes(0, at)
        assert (nodes >= 0).sum() == 2
        assert nodes[0] >= 0
        assert nodes[5] >= 0
        assert set(nodes[nodes < 0]) == {-errno.ENOENT}


def test_pages_move_where_they_are_told_to() -> None:
    with mmap.mmap(-1, COUNT * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        at = _addresses(memory)
        for page in range(COUNT):
            memory[page * PAGE] = 1
        node = int(page_nodes(0, at)[0])
        assert move_pages(os.getpid(), at, node).tolist() == [node] * COUNT
        assert move_pages(0, at[:0], node).tolist() == []
        assert migrate_pages(0, [node], [node]) == 0


def test_a_node_that_does_not_exist_is_refused() -> None:
    with mmap.mmap(-1, COUNT * PAGE) as memory:
        memory[0] = 1
        with pytest.raises(OSError, match="move_pages: ") as raised:
            move_pages(0, _addresses(memory)[:1], 1000, Move.ALL)
        assert raised.value.errno in (errno.ENODEV, errno.EPERM)
    with pytest.raises(OSError, match="set_mempolicy: Invalid argument"), task_policy(Mode.BIND, [1000]):
        pass
    with pytest.raises(OSError, match="node 4096 is not within 0..1023"), task_policy(Mode.BIND, [4096]):
        pass


def test_a_files_policy_is_seen_by_whoever_maps_it() -> None:
    fd = os.memfd_create("policy")
    os.ftruncate(fd, COUNT * PAGE)
    node = 0
    bind_file(fd, COUNT * PAGE, Mode.INTERLEAVE, [node])
    with mmap.mmap(fd, COUNT * PAGE) as memory:
        memory[0] = 1
        policies = {part.start: part.policy for part in numa_maps(os.getpid())}
        assert policies[int(_addresses(memory)[0])] == "interleave:0"
    os.close(fd)


def test_the_tasks_policy_comes_back() -> None:
    def of_a_new_mapping() -> str:
        with mmap.mmap(-1, COUNT * PAGE) as memory:
            memory[0] = 1
            return {part.start: part.policy for part in numa_maps(os.getpid())}[int(_addresses(memory)[0])]

    before = of_a_new_mapping()
    with task_policy(Mode.BIND, [0]):
        with task_policy(Mode.INTERLEAVE, [0]):
            assert of_a_new_mapping() == "interleave:0"
        assert of_a_new_mapping() == "bind:0"
    assert of_a_new_mapping() == before


def test_an_unknown_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numa.platform, "machine", lambda: "vax")
    assert numa.unavailable() == "get_mempolicy: system call number not known for vax"
    with pytest.raises(CapabilityError, match="mbind: system call number not known for vax"):
        numa.mbind(0, PAGE, Mode.DEFAULT, ())
