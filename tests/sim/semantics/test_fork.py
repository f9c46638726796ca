"""What a child gets (dup_mmap and copy_page_range in v6.18), with tables copied and with tables shared (COW-PTE)."""

import errno

import pytest

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import (
    Config,
    CreateFile,
    Detach,
    Exit,
    Fork,
    Interface,
    Machine,
    Map,
    MapInside,
    Pin,
    Protect,
    Spawn,
    Touch,
    WriteFile,
    data_bytes,
    fault_counts,
    page_tables,
    page_tables_bytes,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, KIB, MIB, OK, PAGE, WINDOW, play, refused, region


def test_shared_mappings_are_faulted_again() -> None:
    # Measured: 4,096 faults per 256 MiB in the child; here 4 MiB.
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", 4 * MIB),
        WriteFile(1, "f", 0, 4 * MIB),
        Map(1, 0, 4 * MIB, "f", shared=True),
    )
    play(machine, Touch(1, 0, 4 * MIB), Fork(1, 2))
    assert vm_pte(machine, 2) == 0
    play(machine, Touch(2, 0, 4 * MIB))
    assert fault_counts(machine, 2).minor == 64


def test_private_memory_is_copied_with_its_tables() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, 4 * MIB), Touch(1, 0, 4 * MIB, write=True, value=3), Fork(1, 2))
    assert vm_pte(machine, 2) == vm_pte(machine, 1) == 4 * PAGE
    assert play(machine, Touch(2, 0, 4 * MIB))[0].value == bytes([3]) * 1024
    assert fault_counts(machine, 2).minor == 0
    assert data_bytes(machine) == 4 * MIB


def test_private_memory_that_was_only_read_is_not_copied() -> None:
    # No anon_vma, so vma_needs_copy() says no; the zero pages are faulted again.
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, MIB), Touch(1, 0, MIB), Fork(1, 2))
    assert vm_pte(machine, 2) == 0


def test_the_parent_is_flushed_once() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True))
    before = machine.flushes.rounds
    play(machine, Fork(1, 2))
    assert machine.flushes.rounds == before + 1


def test_cow_pte_of_one_gibibyte() -> None:
    # lkml, 14 April 2023: 2096 kB, 2096 kB and with shared tables 44 kB, over a base of 36-44 kB.
    sizes = {}
    for tables in ("copied", "shared"):
        machine = Machine(Config(fork_tables=tables))
        play(machine, Spawn(1), Map(1, 512 * GIB, GIB), Touch(1, 512 * GIB, GIB, write=True, step=2 * MIB), Fork(1, 2))
        sizes[tables] = vm_pte(machine, 1) // KIB, vm_pte(machine, 2) // KIB
    assert sizes == {"copied": (2056, 2056), "shared": (2056, 8)}


def test_a_write_un_shares_exactly_the_table_that_it_touches() -> None:
    machine = Machine(Config(fork_tables="shared"))
    play(machine, Spawn(1), Map(1, 0, 8 * MIB), Touch(1, 0, 8 * MIB, write=True, value=1, step=2 * MIB), Fork(1, 2))
    assert page_tables(machine)[Level.PTE] == 4
    play(machine, Touch(2, 2 * MIB, write=True, value=2))
    assert page_tables(machine)[Level.PTE] == 5
    assert vm_pte(machine, 2) == 3 * PAGE
    assert [one.value for one in play(machine, Touch(1, 2 * MIB), Touch(2, 2 * MIB))] == [b"\x01", b"\x02"]


def test_the_last_sharer_takes_a_table_over() -> None:
    machine = Machine(Config(fork_tables="shared"))
    play(machine, Spawn(1), Map(1, 0, MIB), Touch(1, 0, write=True, value=1), Fork(1, 2), Exit(1))
    before = page_tables_bytes(machine)
    play(machine, Touch(2, 0, write=True, value=2))
    assert page_tables_bytes(machine) == before
    assert vm_pte(machine, 2) == 3 * PAGE


def test_a_table_under_several_vmas_is_shared_once() -> None:
    machine = Machine(Config(fork_tables="shared"))
    play(machine, Spawn(1), Map(1, 0, MIB), Touch(1, 0, MIB, write=True), Protect(1, 8 * PAGE, PAGE, "r"), Fork(1, 2))
    assert page_tables(machine)[Level.PTE] == 1


def test_a_pinned_page_is_copied_at_once() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True, value=7), Pin(1, 0, write=True), Fork(1, 2))
    assert data_bytes(machine) == 2 * PAGE
    assert play(machine, Touch(2, 0))[0].value == b"\x07"


def test_one_address_space_for_two_processes() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, MIB), Fork(1, 2, cpu=1, share_mm=True), Touch(2, 0, MIB, write=True, value=1))
    assert play(machine, Touch(1, 0))[0].value == b"\x01"
    assert fault_counts(machine, 1).minor == 0
    play(machine, Exit(1))
    assert vm_pte(machine, 2) == 3 * PAGE


def test_a_child_is_a_sharer_and_never_the_owner() -> None:
    machine = region(sharers=1)
    play(machine, Touch(1, WINDOW, write=True, value=4), Fork(1, 2))
    assert play(machine, Touch(2, WINDOW))[0].value == b"\x04"
    assert fault_counts(machine, 2).linking == 1
    assert next(iter(machine.domains)).owner == 1
    play(machine, Detach(1, WINDOW), Exit(1))
    assert not page_tables_bytes(machine)


def test_a_child_has_its_parents_private_pages_inside_a_domain() -> None:
    machine = region(Config(interface=Interface.IDEAL), sharers=1)
    play(machine, MapInside(1, "r", 0, PAGE, shared=False), Touch(1, WINDOW, write=True, value=4), Fork(1, 2))
    assert play(machine, Touch(2, WINDOW))[0].value == b"\x04"
    play(machine, Touch(2, WINDOW, write=True, value=5))
    assert play(machine, Touch(1, WINDOW))[0].value == b"\x04"


def test_wrong_input() -> None:
    machine = Machine()
    assert play(machine, Spawn(1), Spawn(1), Fork(1, 1)) == [OK, refused(errno.EEXIST), refused(errno.EEXIST)]
    with pytest.raises(ConfigError, match="cpu=9"):
        machine.apply(Fork(1, 2, cpu=9))
