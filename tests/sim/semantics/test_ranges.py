"""Map, unmap, protect, advise on ranges: what is freed, what stays, what is refused."""

import errno

import pytest

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import (
    Advise,
    Config,
    CreateFile,
    Fork,
    Machine,
    Map,
    Protect,
    Spawn,
    Touch,
    Unmap,
    data_bytes,
    fault_counts,
    page_tables,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, MIB, OK, PAGE, WINDOW, play, refused


def test_a_table_goes_with_the_last_vma_in_its_span() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Map(1, MIB, PAGE), Touch(1, 0, write=True), Touch(1, MIB, write=True))
    play(machine, Unmap(1, 0, PAGE))
    assert vm_pte(machine, 1) == 3 * PAGE
    play(machine, Unmap(1, MIB, PAGE))
    assert vm_pte(machine, 1) == 0


def test_upper_tables_go_when_their_span_is_empty() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Map(1, GIB, PAGE), Touch(1, 0), Touch(1, GIB), Unmap(1, GIB, GIB))
    assert page_tables(machine) == {Level.PTE: 1, Level.PMD: 1, Level.PUD: 1}


@pytest.mark.parametrize(("pt_reclaim", "tables"), [(True, 1), (False, 2)])
def test_dontneed_frees_pte_pages_that_it_covers_whole(pt_reclaim: bool, tables: int) -> None:
    machine = Machine(Config(pt_reclaim=pt_reclaim))
    play(machine, Spawn(1), Map(1, 0, 4 * MIB), Touch(1, 0, 4 * MIB, write=True, step=MIB))
    play(machine, Advise(1, PAGE, 4 * MIB - PAGE, "dontneed"))
    assert page_tables(machine)[Level.PTE] == tables
    assert data_bytes(machine) == PAGE


def test_dontneed_stops_at_vma_bounds_so_that_a_table_under_two_stays() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, 2 * MIB), Protect(1, 0, MIB, "r"), Touch(1, MIB, write=True))
    play(machine, Advise(1, 0, 2 * MIB, "dontneed"))
    assert page_tables(machine)[Level.PTE] == 1


def test_mprotect_does_what_lies_before_a_hole() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Map(1, 2 * PAGE, PAGE))
    assert play(machine, Protect(1, 0, 3 * PAGE, "r")) == [refused(errno.ENOMEM)]
    assert [vma.writable for vma in machine.processes[1].space.vmas] == [False, True]


def test_madvise_passes_over_holes() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        Map(1, 0, PAGE),
        Map(1, 2 * PAGE, PAGE),
        Touch(1, 0, write=True),
        Touch(1, 2 * PAGE, write=True),
    )
    assert play(machine, Advise(1, 0, 3 * PAGE, "dontneed")) == [refused(errno.ENOMEM)]
    assert data_bytes(machine) == 0


def test_mprotect_gives_an_exclusive_page_its_write_access_back_at_once() -> None:
    machine = Machine()
    play(
        machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True), Protect(1, 0, PAGE, "r"), Protect(1, 0, PAGE, "rw")
    )
    play(machine, Touch(1, 0, write=True))
    assert fault_counts(machine, 1).minor == 1
    play(machine, Fork(1, 2), Protect(1, 0, PAGE, "r"), Protect(1, 0, PAGE, "rw"), Touch(1, 0, write=True))
    assert fault_counts(machine, 1).minor == 2


def test_a_segment_attached_read_only_stays_so() -> None:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "s", "sysv", PAGE), Map(1, 0, PAGE, "s", prot="r", shared=True))
    assert play(machine, Protect(1, 0, PAGE, "rw"), Protect(1, 0, PAGE, "none")) == [refused(errno.EACCES), OK]


@pytest.mark.parametrize(
    ("op", "number"),
    [
        (Map(1, 0, PAGE), errno.EEXIST),
        (Map(1, 1, PAGE), errno.EINVAL),
        (Map(1, PAGE, 0), errno.EINVAL),
        (Map(1, PAGE, PAGE, "f", offset=7), errno.EINVAL),
        (Map(1, PAGE, PAGE, "nothing"), errno.ENOENT),
        (Map(1, (1 << 47) - PAGE, 2 * PAGE), errno.ENOMEM),
        (Unmap(1, 5, PAGE), errno.EINVAL),
        (Unmap(1, 0, 0), errno.EINVAL),
        (Protect(1, 9 * PAGE, PAGE, "r"), errno.ENOMEM),
        (Advise(1, 3, PAGE, "dontneed"), errno.EINVAL),
        (CreateFile(1, "f", "memfd", PAGE), errno.EEXIST),
        (CreateFile(1, "h", "hugetlb", PAGE), errno.EINVAL),
    ],
    ids=repr,
)
def test_refusals(op: Map, number: int) -> None:
    machine = Machine()
    play(machine, Spawn(1), CreateFile(1, "f", "memfd", PAGE), Map(1, 0, PAGE))
    assert play(machine, op) == [refused(number)]


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Map(1, WINDOW, PAGE, prot="x"), "prot=x"),
        (Advise(1, 0, PAGE, "wish"), "advice=wish"),
        (CreateFile(1, "x", "tape", PAGE), "kind=tape"),
        (Touch(7, 0), "pid=7"),
        (Spawn(2, cpu=-1), "cpu=-1"),
    ],
    ids=repr,
)
def test_what_is_no_operation_at_all_names_key_and_value(op: Map, words: str) -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE))
    with pytest.raises(ConfigError, match=words):
        machine.apply(op)
