"""The tree of page tables: walking, growing, un-sharing, freeing."""

import pytest

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import Config, Machine, Spawn, frames, tables
from mshare_bench.sim.semantics.state import AddressSpace, Frame, FrameKind, Leaf, Link, Sharing
from tests.sim.semantics.stateful import TOY


@pytest.fixture
def machine() -> Machine:
    machine = Machine(Config(geometry=TOY))
    machine.apply(Spawn(1))
    machine.apply(Spawn(2))
    return machine


def space(machine: Machine, pid: int = 1) -> AddressSpace:
    return machine.processes[pid].space


def anonymous(machine: Machine) -> Frame:
    return frames.new_frame(machine, FrameKind.ANON, "/")


def test_growing_allocates_one_table_per_level(machine: Machine) -> None:
    table = tables.own(machine, space(machine), 0, Level.PTE)
    assert (table.level, len(machine.tables)) == (Level.PTE, 3)
    assert tables.own(machine, space(machine), 4096, Level.PTE) is table


def test_a_walk_needs_every_level_to_allow_writing(machine: Machine) -> None:
    table = tables.own(machine, space(machine), 0, Level.PTE)
    tables.new_leaf(table, 0, Leaf(anonymous(machine), True, True))
    found = tables.translate(machine, space(machine), 0)
    assert found is not None
    assert found[1:] == (Level.PTE, True)
    above = tables.own(machine, space(machine), 0, Level.PMD)
    above.slots[0] = Link(table, writable=False)
    found = tables.translate(machine, space(machine), 0)
    assert found is not None
    assert found[2] is False
    assert tables.translate(machine, space(machine), 4096) is None


def test_un_sharing_copies_for_all_but_the_last(machine: Machine) -> None:
    table = tables.own(machine, space(machine), 0, Level.PTE)
    leaf = tables.new_leaf(table, 3, Leaf(anonymous(machine), True, True, exclusive=True))
    table.sharing = Sharing.COW
    other = tables.own(machine, space(machine, 2), 0, Level.PMD)
    other.slots[0] = Link(tables.get_table(table), writable=False)
    copied = tables.own(machine, space(machine, 2), 0, Level.PTE)
    assert copied is not table
    assert (table.refs, leaf.frame.refs, leaf.writable, leaf.exclusive) == (1, 2, False, False)
    assert tables.own(machine, space(machine), 0, Level.PTE) is table
    assert table.sharing is Sharing.NONE


def test_freeing_a_table_puts_all_below(machine: Machine) -> None:
    frame = anonymous(machine)
    for address in (0, 4096 * 8):
        tables.new_leaf(tables.own(machine, space(machine), address, Level.PTE), 0, Leaf(frame, True, True))
    assert (frame.refs, len(machine.tables)) == (2, 4)
    tables.clear_slot(machine, space(machine).root, 0)
    assert not machine.tables
    assert frame.number not in machine.frames
    assert not machine.charges


def test_entries_of_a_range_come_in_order_with_their_addresses(machine: Machine) -> None:
    wanted = [0, 4096 * 7, 4096 * 8, 4096 * 70]
    for address in reversed(wanted):
        table = tables.own(machine, space(machine), address, Level.PTE)
        tables.new_leaf(table, tables.index(machine, Level.PTE, address), Leaf(machine.zero, True, False))
    found = [address for _, _, address, _ in tables.leaf_slots(machine, space(machine), 4096, 4096 * 71)]
    assert found == wanted[1:]
