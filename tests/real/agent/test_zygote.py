"""Agents, zygotes and controllers that die, hang or are killed: named, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mshare_bench.errors import CellFailed
from mshare_bench.real.agent import (
    Exit,
    Map,
    Program,
    Touch,
)
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree, Spawn
from tests.real.processes import (
    MIB,
    PRIVATE,
    alive,
    await_gone,
    open_descriptors,
)

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("agent")]


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
        with pytest.raises(
            CellFailed, match=rf"'work' did not finish within 0.3 s .*: 2 of 6 .* is 2 \(pid {pids[2]}\)"
        ):
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


def test_a_zygote_that_waits_takes_no_cpu() -> None:
    with ProcessTree([{"work": []}], 2) as tree:
        tree.launch()
        time.sleep(5.5)  # beyond its limit of 5 s, after which it looks around and waits again
        before = _cpu_seconds(tree.zygote_pid)
        time.sleep(0.5)
        assert _cpu_seconds(tree.zygote_pid) - before <= 0.05
        tree.run("work")


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
