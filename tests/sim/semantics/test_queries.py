"""The figures that are read off a machine, published ones among them."""

import pytest

from mshare_bench.domain.geometry import GEOMETRIES, Level
from mshare_bench.sim.semantics import (
    Advise,
    Attach,
    Config,
    Create,
    CreateFile,
    Exit,
    Fork,
    Interface,
    Machine,
    Map,
    MapInside,
    Resize,
    Spawn,
    Touch,
    WriteFile,
    data_bytes,
    fault_counts,
    own_tables,
    page_tables,
    page_tables_bytes,
    snapshot,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, KIB, MIB, PAGE, WINDOW, play


def test_seed_article_shmem() -> None:
    # 2,097,152 bytes of PTE pages per process; 21,053,440,000 bytes for 10,000, here 20: linear, each has its own.
    processes, machine = 20, Machine()
    machine.apply(Spawn(1))
    machine.apply(CreateFile(1, "buffers", "memfd", GIB))
    for pid in range(1, processes + 1):
        for op in (Spawn(pid), Map(pid, WINDOW, GIB, "buffers", shared=True), Touch(pid, WINDOW, GIB, step=2 * MIB)):
            machine.apply(op)
        assert own_tables(machine, machine.processes[pid].space) == {Level.PTE: 512, Level.PMD: 1, Level.PUD: 1}
    assert page_tables(machine)[Level.PTE] * PAGE == processes * 2_097_152
    assert page_tables_bytes(machine) * 10_000 == processes * 21_053_440_000


def test_seed_article_mshare() -> None:
    # 2,105,344 bytes in all, for 10,000 processes.
    machine = Machine()
    play(machine, Spawn(1), Create(1, "r"), Resize(1, "r", WINDOW), MapInside(1, "r", 0, GIB), Attach(1, "r", WINDOW))
    machine.apply(Touch(1, WINDOW, GIB, write=True, step=2 * MIB))
    for pid in range(2, 10_001):
        for op in (Spawn(pid, cpu=pid % 4), Attach(pid, "r", WINDOW), Touch(pid, WINDOW, GIB, step=256 * MIB)):
            assert machine.apply(op).ok
        assert fault_counts(machine, pid).linking == 1
    assert page_tables_bytes(machine) == 2_105_344


@pytest.mark.parametrize(("offset", "tables"), [(0, (1, 1, 1)), (GIB - MIB, (2, 2, 1)), (WINDOW - MIB, (2, 2, 2))])
def test_alignment_changes_the_count(offset: int, tables: tuple[int, int, int]) -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, WINDOW + offset, 2 * MIB), Touch(1, WINDOW + offset, 2 * MIB, write=True))
    assert tuple(page_tables(machine).values()) == tables


@pytest.mark.parametrize("name", list(GEOMETRIES))
def test_every_geometry(name: str) -> None:
    geometry = GEOMETRIES[name]
    machine = Machine(Config(geometry=geometry))
    top = geometry.spans[-1]
    size = 3 * geometry.spans[0]
    play(machine, Spawn(1), Map(1, top, size), Touch(1, top, size, write=True, step=geometry.page))
    expected = {level: geometry.tables(top, size, level) for level in geometry.counted_levels}
    assert page_tables(machine) == own_tables(machine, machine.processes[1].space) == expected


def test_private_mechanisms_hold_a_copy_each() -> None:
    machine = Machine()
    for pid in (1, 2, 3):
        play(machine, Spawn(pid), Map(pid, 0, MIB), Touch(pid, 0, MIB, write=True))
    assert data_bytes(machine) == 3 * MIB


def test_truncated_files_leave_their_tables_behind_and_dontneed_frees_them() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", 4 * MIB),
        WriteFile(1, "f", 0, 4 * MIB),
        Map(1, 0, 4 * MIB, "f", shared=True),
    )
    play(machine, Touch(1, 0, 4 * MIB), Advise(1, 0, 4 * MIB, "dontneed"))
    assert vm_pte(machine, 1) == 8 * KIB


def test_a_shared_mm_counts_once() -> None:
    machine = Machine()
    play(machine, Spawn(1), Fork(1, 2, share_mm=True), Map(1, 0, MIB), Touch(2, 0, MIB, write=True))
    assert vm_pte(machine, 1) == vm_pte(machine, 2) == 12 * KIB == page_tables_bytes(machine)


def test_wasted_address_space_is_not_wasted_tables() -> None:
    machine = Machine(Config(interface=Interface.MSHAREFS))
    play(
        machine,
        Spawn(1),
        Create(1, "r"),
        Resize(1, "r", 4 * WINDOW),
        MapInside(1, "r", 0, 2 * MIB),
        Attach(1, "r", 8 * WINDOW),
    )
    play(machine, Touch(1, 8 * WINDOW, 2 * MIB, write=True))
    assert page_tables_bytes(machine) == 12 * KIB


def test_a_snapshot_tells_a_change() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE))
    before = snapshot(machine)
    assert before == snapshot(machine)
    play(machine, Touch(1, 0))
    assert before != snapshot(machine)
    play(machine, Exit(1))
    assert not machine.processes
