"""Pinning, migration, NUMA hinting, of stock memory and inside a domain."""

import errno

from mshare_bench.sim.semantics import (
    Advise,
    Config,
    CreateFile,
    Credentials,
    Exit,
    Flush,
    Fork,
    Interface,
    Machine,
    Map,
    Migrate,
    NumaScan,
    Pin,
    Protect,
    Spawn,
    Touch,
    Unmap,
    Unpin,
    data_bytes,
    fault_counts,
)
from tests.sim.semantics.scenario import MIB, OK, PAGE, WINDOW, play, refused, region

NICE = Credentials(capabilities=frozenset({"CAP_SYS_NICE"}))


def test_pinning_faults_stock_memory_in() -> None:
    machine = Machine()
    assert play(machine, Spawn(1), Map(1, 0, PAGE), Pin(1, 0, write=True))[2] == OK
    assert fault_counts(machine, 1).minor == 1
    play(machine, Unmap(1, 0, PAGE))
    assert data_bytes(machine) == PAGE
    play(machine, Unpin(1))
    assert data_bytes(machine) == 0


def test_a_pin_ends_with_its_process() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True), Pin(1, 0), Exit(1))
    assert not machine.frames


def test_what_no_mapping_allows_cannot_be_pinned() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE, prot="r"))
    assert play(machine, Pin(1, 0, write=True), Pin(1, PAGE)) == [refused(errno.EFAULT)] * 2


def test_pinning_a_page_that_others_have_copies_it_first() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True, value=1), Fork(1, 2), Pin(2, 0))
    assert data_bytes(machine) == 2 * PAGE
    play(machine, Touch(2, 0, write=True, value=2))
    assert [one.value for one in play(machine, Touch(1, 0), Touch(2, 0))] == [b"\x01", b"\x02"]


def test_pinning_a_page_of_a_window_that_was_never_touched_fails() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True))
    assert play(machine, Pin(2, 2 * WINDOW)) == [refused(errno.EFAULT)]
    assert play(machine, Touch(2, 2 * WINDOW), Pin(2, 2 * WINDOW))[1] == OK


def test_with_ideal_a_pin_faults_in() -> None:
    machine = region(Config(interface=Interface.IDEAL))
    assert play(machine, Pin(2, 2 * WINDOW, write=True)) == [OK]
    assert play(machine, Pin(2, 2 * WINDOW + 64 * MIB)) == [refused(errno.EFAULT)]


def test_a_page_that_one_entry_maps_moves() -> None:
    machine = Machine()
    play(machine, Spawn(1, cpu=2), Map(1, 0, PAGE), Touch(1, 0, write=True, value=5))
    assert play(machine, Migrate(1, 0, 1), Touch(1, 0)) == [OK, play(machine, Touch(1, 0))[0]]
    assert [frame.node for frame in machine.frames.values()] == [1]
    assert play(machine, Migrate(1, 0, 1)) == [OK]


def test_a_page_that_two_map_moves_only_for_all() -> None:
    machine = Machine()
    play(machine, Spawn(1, NICE), CreateFile(1, "f", "memfd", PAGE), Map(1, 0, PAGE, "f", shared=True))
    play(machine, Touch(1, 0, write=True, value=5), Fork(1, 2, cpu=1), Touch(2, 0))
    assert play(machine, Migrate(1, 0, 1), Migrate(1, 0, 1, every_mapper=True)) == [refused(errno.EACCES), OK]
    assert play(machine, Touch(2, 0))[0].value == b"\x05"


def test_what_does_not_move() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, 3 * PAGE), Touch(1, 0), Touch(1, PAGE, write=True), Pin(1, PAGE))
    numbers = [errno.EFAULT, errno.EBUSY, errno.ENOENT, errno.EFAULT, errno.EPERM]
    ops = [
        Migrate(1, 0, 1),
        Migrate(1, PAGE, 1),
        Migrate(1, 2 * PAGE, 1),
        Migrate(1, 9 * PAGE, 1),
        Migrate(1, PAGE, 1, True),
    ]
    assert [one.errno for one in play(machine, *ops)] == numbers


def test_moving_a_page_inside_a_domain_flushes_every_sharer() -> None:
    machine = region(Config(flush=Flush.LIST), sharers=3)
    play(machine, *(Touch(pid, pid * WINDOW, write=True, value=pid) for pid in (1, 2, 3)))
    rounds = machine.flushes.rounds
    play(machine, Migrate(2, 2 * WINDOW, 1))
    assert machine.flushes.rounds == rounds + 3
    assert play(machine, Touch(1, WINDOW))[0].value == b"\x03"


def test_a_hint_costs_one_fault_per_page() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, 4 * PAGE), Touch(1, 0, 4 * PAGE, write=True, value=1), NumaScan(1))
    assert play(machine, Touch(1, 0, 4 * PAGE))[0].value == bytes([1]) * 4
    assert fault_counts(machine, 1).minor == 8


def test_balancing_skips_windows_read_only_files_and_zero_pages() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True), Touch(2, 2 * WINDOW), NumaScan(1), NumaScan(2), Touch(2, 2 * WINDOW))
    assert fault_counts(machine, 2).minor == 0
    play(machine, CreateFile(1, "f", "memfd", PAGE), Map(1, 0, PAGE, "f", prot="r", shared=True), Map(1, PAGE, PAGE))
    play(machine, Touch(1, 0, 2 * PAGE))
    before = fault_counts(machine, 1)
    play(machine, NumaScan(1), Touch(1, 0, 2 * PAGE))
    assert fault_counts(machine, 1) == before


def test_mprotect_takes_hints_away() -> None:
    machine = Machine()
    play(
        machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True), NumaScan(1), Protect(1, 0, PAGE, "r"), Touch(1, 0)
    )
    assert fault_counts(machine, 1).minor == 1
    play(machine, Advise(1, 0, PAGE, "dontneed"))
