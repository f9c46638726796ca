"""What agents do when told, against the running kernel."""

import ctypes
import mmap
import os
import signal
from collections.abc import Callable

import numpy as np
import pytest

from mshare_bench.errors import CellFailed
from mshare_bench.real.agent import (
    Advise,
    AttachSegment,
    Checksum,
    Exec,
    Fork,
    Join,
    Map,
    Program,
    Protect,
    Touch,
    Unmap,
    checksum,
)
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree
from tests.real.processes import (
    FAULT_AROUND,
    GIB,
    MIB,
    PRIVATE,
    READ,
    alive,
    await_gone,
    expected_tables_kib,
    vmpte_kib,
)

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("agent")]


def test_reading_a_long_page_list_costs_no_faults_of_its_own() -> None:
    pages = np.tile(np.array([0, 1, 512], dtype=np.uint32), 700_000)  # 8 MiB of list for three pages
    program: Program = {
        "attach": [Map(REGIONS_START, 4 * MIB, flags=PRIVATE, advice=(mmap.MADV_NOHUGEPAGE,))],
        "touch": [Touch(REGIONS_START, pages=pages, write=True)],
    }
    with ProcessTree([program], 2) as tree:
        tree.launch()
        base = vmpte_kib(tree.pids[1])
        tree.run("attach")
        assert set(tree.run("touch")["minor_faults"]) == {3}
        assert vmpte_kib(tree.pids[1]) - base == 4 * (2 + 2)


def test_sparse_and_listed_pages(backing: Callable[..., int]) -> None:
    size = 64 * MIB
    listed = np.array([3, 512, 513, 9000], dtype=np.uint32)
    fd = backing(size)
    program = {
        "attach": [Map(REGIONS_START, size, fd=fd)],
        "sparse": [Touch(REGIONS_START, count=32, stride=2 * MIB)],
        "again": [Unmap(REGIONS_START, size), Map(REGIONS_START, size, fd=fd)],
        "listed": [Touch(REGIONS_START, pages=listed, write=True)],
    }
    with ProcessTree([program], 2, fds=[fd], parallel=1) as tree:
        tree.launch()
        base = vmpte_kib(tree.pids[1])
        tree.run("attach")
        assert set(tree.run("sparse")["minor_faults"]) == {32}
        assert vmpte_kib(tree.pids[1]) - base == 4 * (32 + 2)
        tree.run("again")
        assert set(tree.run("listed")["minor_faults"]) == {4}
        assert vmpte_kib(tree.pids[1]) - base == 4 * (3 + 2)


def test_a_system_v_segment_has_no_fault_around() -> None:
    size = 8 * MIB
    libc = ctypes.CDLL(None, use_errno=True)
    shmid = libc.shmget(0, ctypes.c_size_t(size), 0o1600)
    assert shmid >= 0
    libc.shmat.restype = ctypes.c_void_p
    own = libc.shmat(shmid, None, 0)
    libc.shmctl(shmid, 0, None)  # IPC_RMID: gone with the last attachment
    ctypes.memset(own, 1, size)
    program = {
        "attach": [AttachSegment(REGIONS_START, size, shmid, prot=READ)],
        "touch": [Touch(REGIONS_START, count=size // 4096)],
        "write": [Touch(REGIONS_START, count=1, write=True, guarded=True)],
        "unmap": [Unmap(REGIONS_START, size)],
    }
    try:
        with ProcessTree([program], 2) as tree:
            tree.launch()
            base = vmpte_kib(tree.pids[0])
            tree.run("attach")
            assert set(tree.run("touch")["minor_faults"]) == {size // 4096}
            assert vmpte_kib(tree.pids[0]) - base == expected_tables_kib(REGIONS_START, size)
            tree.run("write")
            assert set(tree.op_results("write")["signal"].flat) == {signal.SIGSEGV}
            tree.run("unmap")
            assert vmpte_kib(tree.pids[0]) == base
    finally:
        libc.shmdt(ctypes.c_void_p(own))


def test_a_forked_child_refaults_what_is_shared_and_copies_what_it_writes(backing: Callable[..., int]) -> None:
    size = 8 * MIB
    pages = size // 4096
    fd = backing(size)
    address = {"shared": REGIONS_START, "private": 2 * REGIONS_START}
    program = {
        "attach": [
            Map(address["shared"], size, fd=fd),
            Map(address["private"], size, flags=PRIVATE, advice=(mmap.MADV_NOHUGEPAGE,)),
        ],
        "touch": [Touch(a, count=pages, write=True, value=7) for a in address.values()],
        "read": [Touch(a, count=pages) for a in address.values()],
        "write": [Touch(address["private"], count=10, write=True, value=9)],
        "fork": [Fork("read")],
        "stay": [Fork("write", stay=True)],
        "compare": [Checksum(address["private"], count=20)],
        "join": [Join()],
    }
    with ProcessTree([program], 2, fds=[fd], parallel=1) as tree:
        tree.launch()
        base = vmpte_kib(tree.pids[0])
        tree.run("attach")
        tree.run("touch")
        tree.run("fork")
        assert set(tree.results("read")["minor_faults"]) == {pages // FAULT_AROUND}
        assert (tree.op_results("fork")["duration_ns"] > 0).all()
        assert (tree.op_results("fork")["value"] > 0).all()

        tree.run("stay")
        children = tree.op_results("stay")["value"][:, 0].tolist()
        assert all(alive(child) for child in children)
        # Private tables are copied, those of shared mappings are not.
        assert vmpte_kib(children[0]) - base == expected_tables_kib(address["private"], size)
        assert set(tree.results("write")["minor_faults"]) == {10}
        tree.run("compare")
        assert set(tree.op_results("compare")["value"].flat) == {checksum([7] * 20)}
        tree.run("join")
        assert tree.op_results("join")["value"][:, 0].tolist() == children
        assert not any(alive(child) for child in children)


def test_a_child_that_dies_is_reported_and_one_that_stays_goes_with_the_tree() -> None:
    program = {
        "bad": [Touch(REGIONS_START, count=1)],
        "idle": [],
        "fork": [Fork("bad", guarded=True)],
        "stay": [Fork("bad", stay=True, guarded=True)],
        "keep": [Fork("idle", stay=True)],
    }
    with ProcessTree([program], 1) as tree:
        tree.launch()
        for phase in ("fork", "stay"):
            tree.run(phase)
            assert tree.op_results(phase)["signal"].tolist() == [[signal.SIGSEGV]]
        tree.run("keep")
        child = int(tree.op_results("keep")["value"][0, 0])
        assert alive(child)
    await_gone([child])


def test_exec_in_a_child() -> None:
    with ProcessTree([{"exec": [Exec()], "fork": [Fork("exec")]}], 3) as tree:
        tree.launch()
        results = tree.run("fork")
        assert not tree.op_results("fork")["signal"].any()
        assert not tree.results("exec")["sequence"].any()  # whoever execs has no more to say
        assert (results["duration_ns"] > tree.op_results("fork")["duration_ns"][:, 0]).all()


def test_protect_advise_and_their_errors() -> None:
    size = 4 * MIB
    program = {
        "attach": [Map(REGIONS_START, size, flags=PRIVATE), Touch(REGIONS_START, count=1024, write=True)],
        "protect": [Protect(REGIONS_START, size, READ), Touch(REGIONS_START, count=3, write=True, guarded=True)],
        "advise": [Advise(REGIONS_START, 4096, mmap.MADV_DONTNEED, count=2, stride=2 * MIB)],
        "again": [Touch(REGIONS_START, count=1024)],
        "bad": [Map(REGIONS_START, size, flags=PRIVATE), Unmap(REGIONS_START, size)],
        "guarded": [Map(REGIONS_START, size, flags=PRIVATE, guarded=True), Unmap(REGIONS_START, size)],
    }
    with ProcessTree([program], 2) as tree:
        tree.launch()
        tree.run("attach")
        tree.run("protect")
        assert tree.op_results("protect")["value"][:, 1].tolist() == [3, 3]
        tree.run("advise")
        assert set(tree.run("again")["minor_faults"]) == {2}
        results = tree.run("bad", check=False)
        assert results["failed_op"].tolist() == [0, 0]
        with pytest.raises(CellFailed, match=r"bad: op 0 of agent 0 of 2 failed with EEXIST .*2 of 2"):
            tree.run("bad")
        tree.run("guarded")
        assert tree.op_results("guarded")["error"].tolist() == [[17, 0]] * 2


def test_a_guarded_touch_counts_the_pages_that_can_not_be_touched(backing: Callable[..., int]) -> None:
    fd = backing(4 * 4096)
    os.ftruncate(fd, 2 * 4096)
    hole = REGIONS_START + GIB
    program = {
        "attach": [Map(REGIONS_START, 4 * 4096, fd=fd), Map(hole, 4096, prot=READ, flags=PRIVATE)],
        "truncated": [Touch(REGIONS_START, count=4, guarded=True), Checksum(REGIONS_START, count=4, guarded=True)],
        "unmapped": [Touch(hole - 4096, count=3, guarded=True), Touch(hole, count=1, write=True, guarded=True)],
        "alive": [Touch(REGIONS_START, count=2, write=True)],
    }
    with ProcessTree([program], 3, fds=[fd]) as tree:
        tree.launch()
        tree.run("attach")
        assert set(tree.run("truncated")["signal"]) == {signal.SIGBUS}
        for touched, summed in tree.op_results("truncated"):
            assert (touched["value"], touched["address"]) == (2, REGIONS_START + 2 * 4096)
            assert summed["value"] == checksum([0, 0, 256 + signal.SIGBUS, 256 + signal.SIGBUS])
        # One page could be read; neither the failed accesses nor the frames of signals show among the faults.
        assert set(tree.run("unmapped")["minor_faults"]) == {1}
        for around, write in tree.op_results("unmapped"):
            assert (around["signal"], around["value"], around["address"]) == (signal.SIGSEGV, 2, hole - 4096)
            assert (write["signal"], write["value"]) == (signal.SIGSEGV, 1)
        tree.run("alive")
        tree.check()
