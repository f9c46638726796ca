"""KSM merges frames and leaves tables alone; what it keeps beside them is counted."""

import pytest

from mshare_bench.sim.semantics import (
    Advise,
    Config,
    CreateFile,
    KsmScan,
    Machine,
    Map,
    Pin,
    Spawn,
    Touch,
    data_bytes,
    general_profit,
    ksm_pages,
    ksm_rmap_bytes,
    page_tables_bytes,
)
from tests.sim.semantics.scenario import MIB, PAGE, WINDOW, play, region


def merged(processes: int, pages: int, config: Config | None = None) -> Machine:
    machine = Machine(config)
    for pid in range(1, processes + 1):
        play(machine, Spawn(pid), Map(pid, 0, pages * PAGE), Advise(pid, 0, pages * PAGE, "mergeable"))
        for at in range(pages):
            play(machine, Touch(pid, at * PAGE, write=True, value=at + 1))
    return machine


def test_frames_merge_and_tables_stay() -> None:
    machine = merged(processes=4, pages=3)
    before = page_tables_bytes(machine)
    play(machine, KsmScan())
    assert page_tables_bytes(machine) == before
    assert data_bytes(machine) == 3 * PAGE
    assert ksm_pages(machine) == (3, 9)
    assert ksm_rmap_bytes(machine) == 12 * 64
    assert general_profit(machine) == 9 * PAGE - 12 * 64


def test_a_second_scan_changes_nothing() -> None:
    machine = merged(2, 2)
    play(machine, KsmScan())
    rounds = machine.flushes.rounds
    play(machine, KsmScan())
    assert machine.flushes.rounds == rounds


def test_a_write_breaks_the_page_and_nobody_else_sees_it() -> None:
    machine = merged(2, 1)
    play(machine, KsmScan(), Touch(2, 0, write=True, value=99))
    assert [one.value for one in play(machine, Touch(1, 0), Touch(2, 0))] == [b"\x01", b"\x63"]
    assert data_bytes(machine) == 2 * PAGE


def test_a_merged_page_has_so_many_mappings_at_most() -> None:
    machine = merged(5, 1, Config(ksm_max_page_sharing=2))
    play(machine, KsmScan())
    # Two pairs are merged; the fifth finds nobody.
    assert (ksm_pages(machine), data_bytes(machine)) == ((2, 2), 3 * PAGE)


@pytest.mark.parametrize("shared", [True, False])
def test_only_private_anonymous_memory_that_was_advised(shared: bool) -> None:
    machine = Machine()
    for pid in (1, 2):
        play(machine, Spawn(pid), Map(pid, 0, PAGE, shared=shared), Touch(pid, 0, write=True, value=1))
    if shared:
        play(machine, *(Advise(pid, 0, PAGE, "mergeable") for pid in (1, 2)))
    play(machine, KsmScan())
    assert data_bytes(machine) == 2 * PAGE


def test_a_file_is_not_merged() -> None:
    machine = Machine()
    for pid in (1, 2):
        play(machine, Spawn(pid), CreateFile(pid, f"f{pid}", "memfd", PAGE), Map(pid, 0, PAGE, f"f{pid}"))
        play(machine, Advise(pid, 0, PAGE, "mergeable"), Touch(pid, 0, write=True, value=1))
    play(machine, KsmScan())
    assert ksm_pages(machine) == (0, 0)


def test_ksm_does_not_merge_what_is_inside_a_domain() -> None:
    machine = region(size=MIB)
    play(machine, Touch(1, WINDOW, MIB, write=True, value=1), KsmScan())
    assert ksm_pages(machine) == (0, 0)


def test_a_pinned_page_is_left_alone() -> None:
    machine = merged(2, 1)
    play(machine, Pin(1, 0, write=True), KsmScan())
    assert ksm_pages(machine) == (0, 0)


def test_a_huge_page_is_split_before_its_pages_are_merged() -> None:
    machine = Machine()
    for pid in (1, 2):
        play(
            machine,
            Spawn(pid),
            Map(pid, 0, 2 * MIB),
            Advise(pid, 0, 2 * MIB, "hugepage"),
            Advise(pid, 0, 2 * MIB, "mergeable"),
        )
        play(machine, Touch(pid, 0, write=True, value=1))
    play(machine, KsmScan())
    assert ksm_pages(machine)[0] > 1
    assert [one.value for one in play(machine, Touch(1, 0), Touch(2, PAGE))] == [b"\x01", b"\x00"]
