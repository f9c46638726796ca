"""Huge pages: deposited tables, splits, shared PMD tables of hugetlb, and what is left to save inside a domain."""

import errno

import pytest

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import (
    Advise,
    Config,
    CreateFile,
    Exit,
    Fork,
    Machine,
    Map,
    MapInside,
    Protect,
    PunchFile,
    Spawn,
    Touch,
    Unmap,
    data_bytes,
    fault_counts,
    page_tables,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, KIB, MIB, OK, PAGE, WINDOW, play, refused, region


def advised(size: int = 4 * MIB) -> Machine:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, size), Advise(1, 0, size, "hugepage"))
    return machine


def test_anonymous_huge_pages_save_no_table_bytes() -> None:
    # A PTE page is deposited under each.
    machine = advised()
    play(machine, Touch(1, 0, 4 * MIB, write=True, value=1))
    assert fault_counts(machine, 1).minor == 2
    assert vm_pte(machine, 1) == 4 * PAGE


def test_a_huge_page_must_fit_the_vma() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, PAGE, 4 * MIB - PAGE), Advise(1, PAGE, 4 * MIB - PAGE, "hugepage"))
    play(machine, Touch(1, PAGE, 4 * MIB - PAGE, write=True))
    assert fault_counts(machine, 1).minor == 511 + 1


def test_the_huge_zero_page_takes_no_frame_until_it_is_written() -> None:
    machine = advised()
    play(machine, Touch(1, 0, 2 * MIB))
    assert (fault_counts(machine, 1).minor, data_bytes(machine)) == (1, 0)
    play(machine, Touch(1, PAGE, write=True, value=1))
    assert (fault_counts(machine, 1).minor, data_bytes(machine)) == (2, 2 * MIB)


def test_a_split_uses_the_deposited_table() -> None:
    machine = advised()
    play(machine, Touch(1, 0, 2 * MIB, write=True, value=6))
    before = vm_pte(machine, 1)
    play(machine, Protect(1, 0, PAGE, "r"))
    assert vm_pte(machine, 1) == before
    assert play(machine, Touch(1, 0, 2 * MIB))[0].value == bytes([6]) * 512
    assert fault_counts(machine, 1).minor == 1


def test_a_huge_page_of_the_zero_page_is_flushed_whole_when_it_is_split() -> None:
    machine = advised()
    play(machine, Touch(1, 0, 2 * MIB), Unmap(1, 0, PAGE), Touch(1, PAGE, 2 * MIB - PAGE))


def test_dontneed_gives_the_deposited_table_back() -> None:
    machine = advised()
    play(machine, Touch(1, 0, 2 * MIB, write=True), Advise(1, 0, 2 * MIB, "dontneed"))
    assert vm_pte(machine, 1) == 2 * PAGE


def test_after_a_fork_a_write_splits_and_copies_one_base_page() -> None:
    machine = advised()
    play(machine, Touch(1, 0, 2 * MIB, write=True, value=1), Fork(1, 2), Touch(2, 0, write=True, value=2))
    assert data_bytes(machine) == 2 * MIB + PAGE
    assert [one.value for one in play(machine, Touch(1, 0), Touch(2, 0), Touch(2, PAGE))] == [b"\x01", b"\x02", b"\x01"]
    play(machine, Exit(1), Touch(2, PAGE, write=True))
    assert data_bytes(machine) == 2 * MIB + PAGE


def test_shmem_huge_pages() -> None:
    # Measured per 256 MiB: 128 faults, ~8 KiB of tables.
    machine = Machine(Config(shmem_thp="madvise"))
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", 16 * MIB), Map(1, 512 * GIB, 16 * MIB, "f", shared=True))
    play(machine, Advise(1, 512 * GIB, 16 * MIB, "hugepage"), Touch(1, 512 * GIB, 16 * MIB, write=True))
    assert (fault_counts(machine, 1).minor, vm_pte(machine, 1)) == (8, 8 * KIB)


def hugetlb(sharers: int, offset: int = 0) -> Machine:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "h", "hugetlb", GIB))
    for pid in range(1, sharers + 1):
        play(machine, *([] if pid == 1 else [Spawn(pid)]), Map(pid, 512 * GIB + offset, GIB, "h", shared=True))
        play(machine, Touch(pid, 512 * GIB + offset, GIB, step=2 * MIB))
    return machine


def test_pmd_tables_of_hugetlb_are_shared() -> None:
    # Measured with 1,000 processes on an aligned GiB: 1 fault and 4 KiB (its PUD page) each; VmPTE counts them all.
    machine = hugetlb(10)
    assert [fault_counts(machine, pid).minor for pid in (1, 2, 10)] == [512, 1, 1]
    assert fault_counts(machine, 2).linking == 1
    assert vm_pte(machine, 10) == 8 * KIB
    assert page_tables(machine) == {Level.PTE: 0, Level.PMD: 1, Level.PUD: 10}


def test_two_mebibytes_off_nothing_is_shared() -> None:
    machine = hugetlb(3, offset=2 * MIB)
    assert [fault_counts(machine, pid).minor for pid in (1, 2, 3)] == [512] * 3
    assert page_tables(machine) == {Level.PTE: 0, Level.PMD: 6, Level.PUD: 3}


@pytest.mark.parametrize("how", ["protection", "advice"])
def test_sharers_must_have_the_same_flags(how: str) -> None:
    machine = hugetlb(1)
    play(machine, Spawn(2), Map(2, 512 * GIB, GIB, "h", shared=True, prot="r" if how == "protection" else "rw"))
    if how == "advice":
        # One huge page in the slot is enough: it cuts the VMA.
        play(machine, Advise(2, 512 * GIB + 2 * MIB, 2 * MIB, "dontdump"))
    play(machine, Touch(2, 512 * GIB, GIB, step=2 * MIB))
    assert fault_counts(machine, 2).minor == 512


def test_one_sharers_mprotect_leaves_the_table_to_the_others() -> None:
    machine = hugetlb(3)
    play(machine, Protect(2, 512 * GIB, 2 * MIB, "r"), Touch(2, 512 * GIB, GIB, step=2 * MIB))
    assert fault_counts(machine, 2).minor == 1 + 512
    assert page_tables(machine)[Level.PMD] == 2


def test_a_hole_in_hugetlb_takes_every_sharer_but_the_last_off_the_table() -> None:
    machine = hugetlb(3)
    play(machine, PunchFile(1, "h", 0, 2 * MIB))
    assert sorted(vm_pte(machine, pid) for pid in (1, 2, 3)) == [4 * KIB, 4 * KIB, 8 * KIB]


def test_hugetlb_is_cut_at_huge_pages_only() -> None:
    machine = hugetlb(1)
    assert (
        play(machine, Unmap(1, 512 * GIB, PAGE), Map(1, PAGE, 2 * MIB, "h", shared=True)) == [refused(errno.EINVAL)] * 2
    )
    with pytest.raises(ConfigError, match="private hugetlb"):
        machine.apply(Map(1, 0, 2 * MIB, "h"))


def test_hugetlb_inside_a_domain_has_next_to_nothing_left_to_save() -> None:
    machine = region(sharers=2)
    play(machine, CreateFile(1, "h", "hugetlb", 16 * MIB), MapInside(1, "r", 2 * GIB, 16 * MIB, file="h"))
    assert play(machine, Touch(1, WINDOW + 2 * GIB, 16 * MIB, write=True, value=1)) == [OK]
    assert page_tables(machine) == {Level.PTE: 0, Level.PMD: 1, Level.PUD: 1}
    assert play(machine, Touch(2, 2 * WINDOW + 2 * GIB))[0].value == b"\x01"
