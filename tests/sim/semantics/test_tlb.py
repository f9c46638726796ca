"""Who is flushed, how often, and how many CPUs each flush reaches."""

import pytest

from mshare_bench.sim.semantics import (
    Advise,
    Config,
    Flush,
    FlushCount,
    Fork,
    Interface,
    Machine,
    Map,
    MapInside,
    Protect,
    Spawn,
    Touch,
    Unmap,
    UnmapInside,
)
from tests.sim.semantics.scenario import MIB, PAGE, WINDOW, play, region


@pytest.mark.parametrize(
    ("flush", "rounds", "cpus", "visited"),
    # Five sharers on CPUs 0, 1, 2, 0, 1 of eight.
    [(Flush.ALL, 1, 8, 0), (Flush.CPUMASK, 1, 3, 0), (Flush.LIST, 5, 5, 5)],
)
def test_a_change_inside_a_domain(flush: Flush, rounds: int, cpus: int, visited: int) -> None:
    machine = region(Config(flush=flush, cpus=3), sharers=5)
    machine.config = Config(flush=flush, cpus=8)
    play(machine, *(Touch(pid, pid * WINDOW, write=True) for pid in range(1, 6)))
    before = machine.flushes.rounds, machine.flushes.cpus, machine.flushes.visited
    play(machine, UnmapInside(1, "r", 0, 2 * MIB))
    after = machine.flushes.rounds, machine.flushes.cpus, machine.flushes.visited
    assert tuple(b - a for a, b in zip(before, after, strict=True)) == (rounds, cpus, visited)


def test_flushing_all_cpus_takes_strangers_translations_too() -> None:
    machine = region()
    play(
        machine,
        Spawn(9, cpu=3),
        Map(9, 0, PAGE),
        Touch(9, 0, write=True),
        Touch(1, WINDOW),
        UnmapInside(1, "r", 0, PAGE),
    )
    assert not any(machine.tlb)


def test_a_stock_change_flushes_the_cpus_of_one_mm_once() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        Fork(1, 2, cpu=3, share_mm=True),
        Map(1, 0, 8 * MIB),
        Touch(1, 0, 8 * MIB, write=True, step=MIB),
    )
    assert (machine.flushes.rounds, machine.flushes.cpus) == (0, 0)
    for op in (Protect(1, 0, 4 * MIB, "r"), Advise(1, 0, 4 * MIB, "dontneed"), Unmap(2, 0, 8 * MIB)):
        play(machine, op)
    assert (machine.flushes.rounds, machine.flushes.cpus) == (3, 6)


def test_what_takes_nothing_away_needs_no_flush() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        Map(1, 0, MIB, prot="r"),
        Touch(1, 0),
        Protect(1, 0, MIB, "rw"),
        Map(1, MIB, MIB),
        Unmap(1, MIB, MIB),
    )
    assert machine.flushes == FlushCount()


def test_translations_are_tagged_per_address_space() -> None:
    # x86 PCIDs: sharing tables does not share TLB entries, so each sharer walks for itself.
    machine = region(sharers=2)
    play(machine, Touch(1, WINDOW, write=True), Fork(1, 3, cpu=0), Touch(3, WINDOW))
    assert len(machine.tlb[0]) == 2


def test_with_ideal_a_private_copy_flushes_its_own_process_only() -> None:
    machine = region(Config(interface=Interface.IDEAL), sharers=2)
    play(machine, MapInside(1, "r", 0, PAGE, shared=False), Touch(1, WINDOW), Touch(2, 2 * WINDOW))
    before = machine.flushes.rounds, machine.flushes.cpus
    play(machine, Touch(2, 2 * WINDOW, write=True))
    assert (machine.flushes.rounds - before[0], machine.flushes.cpus - before[1]) == (1, 1)
