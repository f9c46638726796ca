"""Which VMAs merge (mm/vma.c in v6.18): it decides where fault-around stops and what a reclaim of tables sees."""

import pytest

from mshare_bench.sim.semantics import (
    Advise,
    CreateFile,
    Fork,
    Machine,
    Map,
    Op,
    Protect,
    Spawn,
    Touch,
    Unmap,
    WriteFile,
    fault_counts,
)
from tests.sim.semantics.scenario import GIB, MIB, PAGE, play


def vma_count(*history: Op, pid: int = 1) -> int:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", MIB), CreateFile(1, "s", "sysv", 4 * PAGE), *history)
    return len(machine.processes[pid].space.vmas)


@pytest.mark.parametrize(
    ("history", "count"),
    [
        ((Map(1, 0, PAGE), Map(1, PAGE, PAGE)), 1),
        ((Map(1, 0, PAGE), Map(1, 2 * PAGE, PAGE), Map(1, PAGE, PAGE)), 1),
        ((Map(1, 0, PAGE), Map(1, PAGE, PAGE, prot="r")), 2),
        ((Map(1, 0, PAGE), Map(1, PAGE, PAGE, shared=True)), 2),
        ((Map(1, 0, PAGE, shared=True), Map(1, PAGE, PAGE, shared=True)), 2),
        ((Map(1, 0, PAGE, "f"), Map(1, PAGE, PAGE, "f", PAGE)), 1),
        ((Map(1, 0, PAGE, "f"), Map(1, PAGE, PAGE, "f", 2 * PAGE)), 2),
        ((Map(1, 0, 3 * PAGE), Protect(1, PAGE, PAGE, "r")), 3),
        ((Map(1, 0, 3 * PAGE), Protect(1, PAGE, PAGE, "r"), Protect(1, PAGE, PAGE, "rw")), 1),
        ((Map(1, 0, 3 * PAGE), Unmap(1, PAGE, PAGE)), 2),
        ((Map(1, 0, 2 * PAGE), Advise(1, 0, PAGE, "mergeable")), 2),
        ((Map(1, 0, 2 * PAGE), Advise(1, 0, PAGE, "mergeable"), Advise(1, 0, PAGE, "unmergeable")), 1),
        # A SysV mapping has a close operation: none of its VMAs may disappear in a merge.
        ((Map(1, 0, 4 * PAGE, "s", shared=True), Protect(1, 0, PAGE, "r"), Protect(1, 0, PAGE, "rw")), 2),
        ((Map(1, 0, 4 * PAGE, "s", shared=True), Protect(1, 0, 2 * PAGE, "r"), Protect(1, PAGE, PAGE, "rw")), 2),
    ],
)
def test_what_merges(history: tuple[Op, ...], count: int) -> None:
    assert vma_count(*history) == count


@pytest.mark.parametrize(("child_protects", "count"), [(False, 1), (True, 2)])
def test_what_came_through_a_fork_takes_nobody_in(child_protects: bool, count: int) -> None:
    pid = 2 if child_protects else 1
    history = (Map(1, 0, PAGE), Touch(1, 0, write=True), Fork(1, 2), Map(pid, PAGE, PAGE))
    assert vma_count(*history, pid=pid) == count


def test_neighbours_share_an_anonymous_group_so_that_they_can_merge_later() -> None:
    # Both are written while their protections differ; find_mergeable_anon_vma() gives the second the first's group.
    history = (Map(1, 0, PAGE), Touch(1, 0, write=True), Map(1, PAGE, PAGE), Protect(1, 0, PAGE, "r"))
    assert vma_count(*history, Touch(1, PAGE, write=True), Protect(1, 0, PAGE, "rw")) == 1


def test_fault_around_stops_at_a_vma_that_did_not_merge() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", MIB),
        WriteFile(1, "f", 0, MIB, 1),
        Map(1, GIB, 16 * PAGE, "f", shared=True),
    )
    play(machine, Protect(1, GIB, 8 * PAGE, "r"), Touch(1, GIB, 16 * PAGE))
    assert fault_counts(machine, 1).minor == 2
