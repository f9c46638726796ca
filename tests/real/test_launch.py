"""The process tree against the running kernel: exact tables and faults, and nothing left whatever happens."""

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError, PlacementError
from mshare_bench.real.agent import (
    Advise,
    AttachSegment,
    Checksum,
    Exec,
    Exit,
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
from mshare_bench.real.launch import Binding, ProcessTree, Spawn
from tests.real.processes import alive, await_gone, expected_tables_kib, memfd, need_agent, status, vmpte_kib

pytestmark = pytest.mark.kernel
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
READ, WRITE = mmap.PROT_READ, mmap.PROT_WRITE
FAULT_AROUND = 16  # pages that one read fault of populated shared memory maps, where the kernel has its default


@pytest.fixture(autouse=True)
def _agent() -> None:
    need_agent()


@pytest.fixture
def backing() -> Iterator[Callable[..., int]]:
    fds: list[int] = []

    def make(size: int, pages: range | None = None) -> int:
        fds.append(memfd(size, pages))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)


def sharing(fd: int, size: int, address: int = REGIONS_START, **touch: object) -> Program:
    return {
        "attach": [Map(address, size, fd=fd)],
        "touch": [Touch(address, count=size // 4096, **touch)],
        "unmap": [Unmap(address, size)],
    }


def open_descriptors() -> list[str]:
    return sorted(file.name for file in Path("/proc/self/fd").iterdir())


# -- exact -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize(
    ("agents", "size", "offset"),
    [
        (1, 256 * MIB, 0),
        (2, 64 * MIB, 0),
        (2, 64 * MIB, 12 * KIB),
        (2, 2 * MIB - 4 * KIB, 2 * MIB - 4 * KIB),
        (2, 4 * KIB, GIB - 4 * KIB),
        (100, 4 * MIB, 4 * KIB),
    ],
)
def test_tables_and_faults_are_exact(
    backing: Callable[..., int], agents: int, size: int, offset: int, write: bool
) -> None:
    address = REGIONS_START + offset
    fd = backing(size)
    with ProcessTree([sharing(fd, size, address, write=write)], agents, fds=[fd]) as tree:
        tree.launch()
        base = [vmpte_kib(pid) for pid in tree.pids]
        tree.run("attach")
        assert [vmpte_kib(pid) for pid in tree.pids] == base
        first = tree.run("touch", 0, 1, parallel=1)
        rest = tree.run("touch", 1, parallel=1)
        faults = {*first["minor_faults"], *rest["minor_faults"]}
        windows = (address + size - 1) // (64 * KIB) - address // (64 * KIB) + 1
        assert faults == {size // 4096 if write else windows}
        added = {vmpte_kib(pid) - before for pid, before in zip(tree.pids, base, strict=True)}
        assert added == {expected_tables_kib(address, size)}
        tree.run("unmap")
        assert [vmpte_kib(pid) for pid in tree.pids] == base
        tree.check()


def test_one_gibibyte_costs_2056_kib_and_16384_faults(backing: Callable[..., int]) -> None:
    fd = backing(GIB)
    with ProcessTree([sharing(fd, GIB)], 1, fds=[fd]) as tree:
        tree.launch()
        base = vmpte_kib(tree.pids[0])
        tree.run("attach")
        assert tree.run("touch")["minor_faults"].tolist() == [GIB // 4096 // FAULT_AROUND]
        assert vmpte_kib(tree.pids[0]) - base == 2056


def test_the_base_is_one_number_and_phases_without_ops_change_nothing(backing: Callable[..., int]) -> None:
    pages = np.arange(0, 200_000, 7, dtype=np.uint32)
    program: Program = {"idle": [], "later": [Touch(REGIONS_START, pages=pages)]}
    with ProcessTree([program], 300) as tree:
        tree.launch()
        base = {vmpte_kib(pid) for pid in [tree.zygote_pid, *tree.pids]}
        assert len(base) == 1
        assert base < set(range(49))
        for parallel in (1, 2, 7):
            results = tree.run("idle", parallel=parallel)
            assert not results["minor_faults"].any()
            assert not results["major_faults"].any()
        assert {vmpte_kib(pid) for pid in tree.pids} == base


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


# -- one address space -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spawn", [Spawn.CLONE_VM, Spawn.THREAD])
def test_agents_on_one_address_space_fault_once_for_all(backing: Callable[..., int], spawn: Spawn) -> None:
    size = 16 * MIB
    fd = backing(size)
    first = sharing(fd, size)
    others = {"touch": first["touch"]}
    with ProcessTree([first, others], 50, np.minimum(np.arange(50), 1), fds=[fd], spawn=spawn) as tree:
        launched = tree.launch()
        assert (launched["duration_ns"] > 0).all()
        pids = tree.pids
        assert len(set(pids)) == 50
        groups = {status(pid, "Tgid") for pid in pids}
        assert len(groups) == (1 if spawn == Spawn.THREAD else 50)
        base = vmpte_kib(pids[0])
        tree.run("attach", parallel=1)
        touched = tree.run("touch", parallel=1)
        assert touched["minor_faults"].tolist() == [size // 4096 // FAULT_AROUND] + [0] * 49
        assert {vmpte_kib(pid) - base for pid in pids} == {expected_tables_kib(REGIONS_START, size)}
        exits = tree.exit()
        assert (exits["duration_ns"] > 0).all()
        assert (exits["sequence"] > 0).all()
    await_gone(pids, 0)


@pytest.mark.parametrize("spawn", list(Spawn))
def test_a_single_agent_of_each_kind(spawn: Spawn) -> None:
    with ProcessTree([{"touch": []}], 1, spawn=spawn) as tree:
        tree.launch()
        tree.run("touch")
        tree.exit()


# -- fork --------------------------------------------------------------------------------------------------------


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


def test_agents_inherit_what_the_zygote_mapped(backing: Callable[..., int]) -> None:
    size = 4 * MIB
    fd = backing(size)
    private = 2 * REGIONS_START
    prefork = [
        Map(REGIONS_START, size, fd=fd),
        Map(private, size, flags=PRIVATE, advice=(mmap.MADV_NOHUGEPAGE,)),
        Touch(REGIONS_START, count=1024),
        Touch(private, count=1024, write=True, value=5),
    ]
    program = {
        "shared": [Touch(REGIONS_START, count=1024)],
        "private": [Touch(private, count=1024)],
        "write": [Touch(private, count=1024, write=True)],
    }
    with ProcessTree([program], 5, fds=[fd], prefork=prefork, parallel=1) as tree:
        base = vmpte_kib(tree.zygote_pid)
        before = tree.run_prefork()
        assert before["minor_faults"].tolist() == [1024 // FAULT_AROUND + 1024]
        tree.launch()
        assert {vmpte_kib(pid) - base for pid in tree.pids} == {expected_tables_kib(private, size)}
        assert set(tree.run("shared")["minor_faults"]) == {1024 // FAULT_AROUND}
        assert set(tree.run("private")["minor_faults"]) == {0}
        assert set(tree.run("write")["minor_faults"]) == {1024}


# -- phases ------------------------------------------------------------------------------------------------------


def overlap(results: np.ndarray) -> int:
    """Largest number of phases that ran at the same instant."""
    events = [(int(r["start_ns"]), 1) for r in results] + [(int(r["start_ns"] + r["duration_ns"]), -1) for r in results]
    level = highest = 0
    for _, change in sorted(events):
        level += change
        highest = max(highest, level)
    return highest


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_no_more_than_parallel_agents_run_at_a_time(parallel: int) -> None:
    size = 2 * MIB
    program = {"work": [Map(REGIONS_START, size, flags=PRIVATE), Touch(REGIONS_START, count=512, write=True)]}
    with ProcessTree([program], 40, parallel=parallel) as tree:
        tree.launch()
        results = tree.run("work")
        assert 1 <= overlap(results) <= parallel
        if parallel == 1:
            assert (np.diff(results["start_ns"]) > 0).all()


def test_a_range_runs_only_its_agents() -> None:
    with ProcessTree([{"work": []}], 10) as tree:
        tree.launch()
        assert len(tree.run("work", 3, 7)) == 4
        ran = tree.results("work")["sequence"] > 0
        assert np.flatnonzero(ran).tolist() == [3, 4, 5, 6]
        assert len(tree.run("work", 5, 5)) == 0


def test_agents_run_the_program_they_are_assigned(backing: Callable[..., int]) -> None:
    fd = backing(MIB)
    programs: list[Program] = [
        {
            "attach": [Map(REGIONS_START, MIB, fd=fd)],
            "write": [Touch(REGIONS_START, count=4, write=True, value=40, add_agent=True)],
        },
        {"attach": [Map(REGIONS_START, MIB, fd=fd)], "read": [Checksum(REGIONS_START, count=4)]},
        {},
    ]
    with ProcessTree(programs, 4, [1, 2, 0, 1], fds=[fd], parallel=1) as tree:
        tree.launch()
        tree.run("attach")
        tree.run("read")
        assert tree.op_results("read")["value"][[0, 3], 0].tolist() == [checksum([0] * 4)] * 2
        tree.run("write")
        tree.run("read")
        assert tree.op_results("read")["value"][:, 0].tolist() == [checksum([42] * 4), 0, 0, checksum([42] * 4)]
        assert os.pread(fd, 1, 3 * 4096) == bytes([42])
        assert os.pread(fd, 1, 4 * 4096) == bytes([0])


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
        tree.run("unmapped")
        for around, write in tree.op_results("unmapped"):
            assert (around["signal"], around["value"], around["address"]) == (signal.SIGSEGV, 2, hole - 4096)
            assert (write["signal"], write["value"]) == (signal.SIGSEGV, 1)
        tree.run("alive")
        tree.check()


def test_exits_are_timed_and_leave_nobody() -> None:
    program = {"touch": [Map(REGIONS_START, 4 * MIB, flags=PRIVATE), Touch(REGIONS_START, count=1024, write=True)]}
    with ProcessTree([program], 70, parallel=3) as tree:
        tree.launch()
        tree.run("touch")
        pids = tree.pids
        results = tree.exit()
        assert (results["duration_ns"] > 0).all()
        assert (tree.pids == -1).all()
        await_gone(pids, 0)
        assert alive(tree.zygote_pid)


# -- where they run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spawn", list(Spawn))
def test_agents_are_bound_before_they_map(spawn: Spawn) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    bindings = [Binding(frozenset({cpu}), mode=2, nodes=frozenset({0})) for cpu in cpus]
    which = np.array([i % len(cpus) for i in range(6)])
    which[3] = -1
    program = {"attach": [Map(REGIONS_START, MIB, flags=PRIVATE), Touch(REGIONS_START, count=1, write=True)]}
    with ProcessTree([program], 6, bindings=bindings[: len(cpus)], binding=which, spawn=spawn) as tree:
        tree.launch()
        tree.run("attach", hi=None if spawn == Spawn.FORK else 1)
        for pid, binding in zip(tree.pids, which, strict=True):
            allowed = {cpus[binding]} if binding >= 0 else os.sched_getaffinity(0)
            assert os.sched_getaffinity(int(pid)) == allowed
            policy = "bind:0" if binding >= 0 else "default"
            if spawn != Spawn.FORK:
                continue  # what maps is one process for all
            numa_maps = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()
            assert any(line.startswith(f"{REGIONS_START:x} {policy} ") for line in numa_maps)


def test_a_cpu_that_is_not_there_is_named() -> None:
    with (
        ProcessTree([{}], 3, bindings=[Binding(frozenset({1023}))], binding=[-1, 0, 0]) as tree,
        pytest.raises(PlacementError, match=r"binding 0 \(agent 1 of 3\).*EINVAL"),
    ):
        tree.launch()


def test_nice_and_oom_score_are_set() -> None:
    with ProcessTree([{}], 2, nice=5, oom_score_adj=123) as tree:
        tree.launch()
        for pid in tree.pids:
            assert os.getpriority(os.PRIO_PROCESS, int(pid)) == 5
            assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "123\n"


def test_the_zygote_writes_itself_into_the_cgroup_file(tmp_path: Path) -> None:
    procs = tmp_path / "cgroup.procs"
    procs.touch()
    with ProcessTree([{}], 1, cgroup=procs) as tree:
        tree.launch()
        assert procs.read_text() == "0"


def test_a_cgroup_that_can_not_be_joined_is_named(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match=r"absent/tasks: ENOENT"):
        ProcessTree([{}], 1, cgroup=tmp_path / "absent" / "tasks")


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_killed_agent_is_named_also_after_it_reported() -> None:
    with ProcessTree([{"work": []}], 20) as tree:
        tree.launch()
        tree.run("work")
        tree.check()
        victim = int(tree.pids[13])
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(CellFailed, match=rf"agent 13 of 20 \(pid {victim}\) was killed by SIGKILL.*'work'"):
            tree.check()
        with pytest.raises(CellFailed, match="agent 13"):
            tree.run("work")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_from_outside_kills_as_ever(number: signal.Signals) -> None:
    with ProcessTree([{"work": []}], 2) as tree:
        tree.launch()
        os.kill(int(tree.pids[1]), number)
        await_gone([int(tree.pids[1])])
        with pytest.raises(CellFailed, match=f"agent 1 of 2 .* was killed by {number.name}"):
            tree.run("work")


@pytest.mark.parametrize("spawn", [Spawn.FORK, Spawn.CLONE_VM])
def test_an_agent_that_segfaults_is_named_and_the_controller_does_not_wait(spawn: Spawn) -> None:
    programs: list[Program] = [{"touch": []}, {"touch": [Touch(REGIONS_START, count=1)]}]
    with ProcessTree(programs, 5, [0, 0, 0, 1, 0], spawn=spawn) as tree:
        tree.launch()
        with pytest.raises(CellFailed, match=r"agent 3 of 5 .* was killed by SIGSEGV; the last command was 'touch'"):
            tree.run("touch")


def test_an_agent_that_exits_by_itself_is_named() -> None:
    with ProcessTree([{"touch": [Exit(3)]}], 1) as tree:
        tree.launch()
        with pytest.raises(CellFailed, match="agent 0 of 1 .* exited with code 3"):
            tree.run("touch")


def test_a_stopped_agent_is_named_when_time_is_up() -> None:
    with ProcessTree([{"work": []}], 6, parallel=1) as tree:
        tree.launch()
        pids = tree.pids
        os.kill(int(pids[2]), signal.SIGSTOP)
        with pytest.raises(CellFailed, match=rf"'work' did not finish within 0.3 s: 2 of 6 .* is 2 \(pid {pids[2]}\)"):
            tree.run("work", timeout=0.3)
        with pytest.raises(CellFailed, match="did not finish"):
            tree.check()
    await_gone(pids, 0)


def test_a_stopped_zygote_ends_in_a_timeout() -> None:
    tree = ProcessTree([{"work": []}], 3, timeout=0.3)
    tree.launch()
    pids = [tree.zygote_pid, *tree.pids]
    os.kill(tree.zygote_pid, signal.SIGSTOP)
    with pytest.raises(CellFailed, match=r"did not finish within 0.3 s"):
        tree.check()
    tree.close(patience=0.3)
    await_gone(pids)


def test_a_killed_zygote_takes_its_agents_along() -> None:
    with ProcessTree([{"work": []}], 30) as tree:
        tree.launch()
        pids = tree.pids
        os.kill(tree.zygote_pid, signal.SIGKILL)
        await_gone(pids)
        with pytest.raises(CellFailed, match="the zygote was killed by SIGKILL"):
            tree.run("work")


CONTROLLER = textwrap.dedent(
    """
    import sys, threading, time
    from mshare_bench.real.agent import Fork, Map, Touch
    from mshare_bench.real.agent.ops import REGIONS_START
    from mshare_bench.real.launch import ProcessTree, Spawn
    program = {"attach": [Map(REGIONS_START, 1 << 30, flags=0x22)], "idle": [], "fork": [Fork("idle", stay=True)],
               "touch": [Touch(REGIONS_START, count=1 << 62, step=0)]}
    def control():
        tree = ProcessTree([program], 20, spawn=Spawn[sys.argv[1]], parallel=2)
        tree.launch()
        children = []
        tree.run("attach", 0, 1)
        if sys.argv[1] == "FORK":
            tree.run("attach", 1)
            tree.run("fork", 3, 5)
            children = tree.op_results("fork")["value"][3:5, 0].tolist()
        print(tree.zygote_pid, *tree.pids, *children, flush=True)
        if sys.argv[3] == "busy":
            tree.run("touch", timeout=1000)
        time.sleep(1000)
    if sys.argv[2] == "thread":
        threading.Thread(target=control).start()
        time.sleep(1000)
    control()
    """
)


@pytest.mark.parametrize("state", ["idle", "busy"])
@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("spawn", list(Spawn))
def test_nothing_outlives_a_killed_controller(spawn: Spawn, where: str, state: str) -> None:
    command = [sys.executable, "-c", CONTROLLER, spawn.name, where, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as controller:
        try:
            pids = [int(pid) for pid in controller.stdout.readline().split()]
            assert len(pids) >= 21
            assert all(alive(pid) for pid in pids)
            time.sleep(0.1 if state == "busy" else 0)
        finally:
            controller.kill()
        await_gone(pids)


def test_close_leaves_nothing_may_be_repeated_and_frees_the_descriptors() -> None:
    before = open_descriptors()
    tree = ProcessTree([{"work": []}], 10)
    tree.launch()
    pids = [tree.zygote_pid, *tree.pids]
    tree.close()
    tree.close()
    await_gone(pids, 0)
    assert open_descriptors() == before
    with pytest.raises(CellFailed, match="closed"):
        tree.run("work")


def test_trees_side_by_side_do_not_meet() -> None:
    def one(errors: list[BaseException]) -> None:
        try:
            with ProcessTree([{"work": [Map(REGIONS_START, MIB, flags=PRIVATE)]}], 5) as tree:
                tree.launch()
                tree.run("work")
                tree.exit()
        except BaseException as error:
            errors.append(error)

    errors: list[BaseException] = []
    threads = [threading.Thread(target=one, args=(errors,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"agents": 0}, "agents: 0"),
        ({"assignment": [0, 1]}, r"assignment: 0\.\.1 is not within 0\.\.0"),
        ({"assignment": [0]}, r"assignment: shape \(1,\)"),
        ({"binding": [0, 0]}, "binding"),
        ({"parallel": 0}, "parallel: 0"),
        ({"cgroup": "x" * 2000}, "cgroup"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], match: str) -> None:
    before = open_descriptors()
    with pytest.raises(ConfigError, match=match):
        ProcessTree([{}], **{"agents": 2, **arguments})
    assert open_descriptors() == before


def test_wrong_phases_and_ranges_are_named() -> None:
    with ProcessTree([{"work": []}], 2) as tree:
        tree.launch()
        with pytest.raises(ConfigError, match="'wrok'.*work"):
            tree.run("wrok")
        with pytest.raises(ConfigError, match=r"1\.\.3"):
            tree.run("work", 1, 3)
        with pytest.raises(ConfigError, match="launch"):
            tree.run("launch")
        tree.run("work")
