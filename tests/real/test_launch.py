"""The process tree against the running kernel: exact tables and faults, phases, bindings."""

import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError, PlacementError
from mshare_bench.real.agent import (
    Checksum,
    Map,
    Program,
    Touch,
    checksum,
)
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.agent.zygote import Packet, Zygote
from mshare_bench.real.launch import Binding, ProcessTree, Spawn
from tests.real.processes import (
    FAULT_AROUND,
    GIB,
    KIB,
    MIB,
    PRIVATE,
    alive,
    await_gone,
    expected_tables_kib,
    open_descriptors,
    sharing,
    status,
    vmpte_kib,
)

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("agent")]


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


def test_the_base_is_one_number_and_phases_without_ops_change_nothing() -> None:
    with ProcessTree([{"idle": []}], 300) as tree:
        tree.launch()
        base = {vmpte_kib(pid) for pid in [tree.zygote_pid, *tree.pids]}
        assert len(base) == 1
        assert base < set(range(49))
        for parallel in (1, 2, 7):
            results = tree.run("idle", parallel=parallel)
            assert not results["minor_faults"].any()
            assert not results["major_faults"].any()
        assert {vmpte_kib(pid) for pid in tree.pids} == base


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


def overlap(results: np.ndarray) -> int:
    """Largest number of phases that ran at the same instant."""
    events = [(int(r["start_ns"]), 1) for r in results] + [(int(r["start_ns"] + r["duration_ns"]), -1) for r in results]
    level = highest = 0
    for _, change in sorted(events):
        level += change
        highest = max(highest, level)
    return highest


def test_each_agent_hands_its_turn_to_the_one_that_many_further_on() -> None:
    with ProcessTree([{"work": []}], 12, parallel=3) as tree:
        tree.launch()
        os.kill(int(tree.pids[4]), signal.SIGSTOP)
        with pytest.raises(CellFailed, match="9 of 12 agents did; the first that did not is 4"):
            tree.run("work", timeout=0.5)
        ran = tree.results("work")["sequence"] > 0
        assert np.flatnonzero(~ran).tolist() == [4, 7, 10]


def test_the_time_starts_anew_as_agents_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessTree([{"work": []}], 8, parallel=1) as tree:
        tree.launch()
        stopped, waits = [3, 6], []
        for agent in stopped:
            os.kill(int(tree.pids[agent]), signal.SIGSTOP)
        receive = Zygote.receive

        def one_goes_on_at_each_wait(self: Zygote, seconds: float) -> Packet:
            if waits:
                os.kill(int(tree.pids[stopped.pop(0)]), signal.SIGCONT)
            waits.append(seconds)
            return receive(self, seconds)

        monkeypatch.setattr(Zygote, "receive", one_goes_on_at_each_wait)
        assert (tree.run("work", timeout=1.0)["error"] == 0).all()
        assert len(waits) == 3
        monkeypatch.undo()


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
