"""What a fault fills (KERNEL: mm/memory.c of v6.18; the counts were measured there)."""

import signal

import pytest

from mshare_bench.sim.semantics import (
    Config,
    CreateFile,
    Faults,
    Fork,
    Machine,
    Map,
    Outcome,
    PunchFile,
    Spawn,
    Touch,
    WriteFile,
    data_bytes,
    fault_counts,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, KIB, MIB, OK, PAGE, play


def minor_faults(kind: str, size: int, *, populated: bool, write: bool, offset: int = 0) -> int:
    """Minor faults of one process that touches each page of a shared file once."""
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", kind, size))
    if populated:
        play(machine, WriteFile(1, "f", 0, size, 1))
    play(machine, Map(1, GIB + offset, size, "f", shared=True), Touch(1, GIB + offset, size, write))
    return fault_counts(machine, 1).minor


@pytest.mark.parametrize(
    ("kind", "populated", "write", "offset", "faults"),
    [
        # Measured per 256 MiB: 4,096 (4,097 mapped 12 KiB off) populated, 65,536 of holes, 65,536 writing; here 4 MiB.
        ("memfd", True, False, 0, 64),
        ("memfd", True, False, 12 * KIB, 65),
        ("memfd", False, False, 0, 1024),
        ("memfd", True, True, 0, 1024),
    ],
)
def test_who_populated_decides_sixteen_to_one(
    kind: str, populated: bool, write: bool, offset: int, faults: int
) -> None:
    assert minor_faults(kind, 4 * MIB, populated=populated, write=write, offset=offset) == faults


def test_sysv_has_no_fault_around() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "s", "sysv", MIB),
        Map(1, 0, MIB, "s", shared=True),
        Touch(1, 0, MIB, write=True),
    )
    play(machine, Spawn(2), Map(2, 0, MIB, "s", shared=True), Touch(2, 0, MIB))
    assert fault_counts(machine, 2) == Faults(256, 0)


def test_a_window_cut_by_the_start_of_the_vma_is_still_sixteen_pages_long() -> None:
    # do_fault_around(): pages 3..18 with the first fault, although a window aligned in virtual address would end with 15.
    machine = Machine()
    start = 64 * KIB * 7 + 3 * PAGE
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", MIB), WriteFile(1, "f", 0, MIB, 5))
    play(machine, Map(1, start, MIB, "f", shared=True), Touch(1, start, 16 * PAGE))
    assert fault_counts(machine, 1).minor == 1
    play(machine, Touch(1, start + 16 * PAGE))
    assert fault_counts(machine, 1).minor == 2


def test_a_window_ends_with_the_pte_table() -> None:
    machine = Machine()
    start = 2 * MIB - 3 * PAGE
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", MIB), WriteFile(1, "f", 0, MIB))
    play(machine, Map(1, start, MIB, "f", shared=True), Touch(1, start))
    play(machine, Touch(1, start + 3 * PAGE))
    assert fault_counts(machine, 1).minor == 2


def test_fault_around_leaves_holes() -> None:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", 16 * PAGE), WriteFile(1, "f", 0, 16 * PAGE, 9))
    play(machine, PunchFile(1, "f", 4 * PAGE, PAGE), Map(1, 0, 16 * PAGE, "f", shared=True))
    assert play(machine, Touch(1, 0, 16 * PAGE))[0].value == bytes([9] * 4 + [0] + [9] * 11)
    assert fault_counts(machine, 1).minor == 2


def test_fault_around_can_be_switched_off() -> None:
    machine = Machine(Config(fault_around=4096))
    play(
        machine, Spawn(1), CreateFile(1, "f", "memfd", MIB), WriteFile(1, "f", 0, MIB), Map(1, 0, MIB, "f", shared=True)
    )
    play(machine, Touch(1, 0, MIB))
    assert fault_counts(machine, 1).minor == 256


def test_reading_private_memory_takes_no_frame() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, MIB), Touch(1, 0, MIB))
    assert (fault_counts(machine, 1).minor, data_bytes(machine)) == (256, 0)
    play(machine, Touch(1, 0, MIB, write=True, value=1))
    assert (fault_counts(machine, 1).minor, data_bytes(machine)) == (512, MIB)


def test_shmem_that_was_read_is_writable_at_once_a_file_that_wants_to_hear_of_writes_is_not() -> None:
    for kind, faults in (("memfd", 1), ("file", 2)):
        machine = Machine()
        play(
            machine,
            Spawn(1),
            CreateFile(1, "f", kind, PAGE),
            WriteFile(1, "f", 0, PAGE),
            Map(1, 0, PAGE, "f", shared=True),
        )
        play(machine, Touch(1, 0), Touch(1, 0, write=True))
        assert fault_counts(machine, 1).minor == faults


def test_a_private_file_page_follows_the_file_until_it_is_written() -> None:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", "file", PAGE), WriteFile(1, "f", 0, PAGE, 1), Map(1, 0, PAGE, "f"))
    assert play(machine, Touch(1, 0))[0].value == b"\x01"
    play(machine, WriteFile(1, "f", 0, PAGE, 2))
    assert play(machine, Touch(1, 0))[0].value == b"\x02"
    play(machine, Touch(1, 0, write=True, value=3), WriteFile(1, "f", 0, PAGE, 4))
    assert play(machine, Touch(1, 0))[0].value == b"\x03"


def test_a_private_write_is_seen_by_nobody_else() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True, value=1), Fork(1, 2))
    play(machine, Touch(2, 0, write=True, value=2))
    assert [outcome.value for outcome in play(machine, Touch(1, 0), Touch(2, 0))] == [b"\x01", b"\x02"]


def test_the_last_one_who_has_a_page_writes_it_without_a_copy() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True, value=1), Fork(1, 2), Touch(2, 0, write=True))
    assert data_bytes(machine) == 2 * PAGE
    play(machine, Touch(1, 0, write=True))
    assert data_bytes(machine) == 2 * PAGE


def test_a_touch_without_a_mapping_is_a_segfault_and_ends_the_process() -> None:
    machine = Machine()
    outcomes = play(machine, Spawn(1), Touch(1, 0))
    assert outcomes == [OK, Outcome(signal=signal.SIGSEGV)]
    assert not machine.processes


def test_a_touch_beyond_the_end_of_the_file_is_a_sigbus() -> None:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", PAGE), Map(1, 0, 2 * PAGE, "f", shared=True))
    assert play(machine, Touch(1, PAGE)) == [Outcome(signal=signal.SIGBUS)]


@pytest.mark.parametrize(("size", "kib"), [(256 * MIB, 520), (GIB, 2056)])
def test_tables_of_a_dense_range(size: int, kib: int) -> None:
    # VmPTE 556 = 36 base + 520 per 256 MiB, 2,092 = 36 + 2,056 per GiB. One touch per 2 MiB builds the same tables.
    machine = Machine()
    play(machine, Spawn(1), Map(1, 512 * GIB, size), Touch(1, 512 * GIB, size, write=True, step=2 * MIB))
    assert vm_pte(machine, 1) == kib * KIB
