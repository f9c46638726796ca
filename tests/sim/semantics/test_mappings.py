"""Calls that meet windows among other memory, and accesses through the TLB."""

import errno

import pytest

from mshare_bench.sim.semantics import (
    Advise,
    Config,
    Interface,
    Machine,
    Map,
    Protect,
    Spawn,
    Touch,
    Unmap,
    fault_counts,
    mappings,
)
from tests.sim.semantics.scenario import MIB, OK, PAGE, WINDOW, play, refused, region


def test_a_second_touch_is_no_fault_and_no_walk() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True), Touch(1, 0), Touch(1, 0, write=True))
    assert fault_counts(machine, 1).minor == 1


def test_a_touch_with_steps() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, MIB), Touch(1, 4 * PAGE, write=True, value=1))
    assert play(machine, Touch(1, 0, 9 * PAGE, step=4 * PAGE))[0].value == b"\x00\x01\x00"


def test_munmap_over_a_whole_window_and_more() -> None:
    machine = region(sharers=1)
    play(machine, Map(1, WINDOW - MIB, MIB), Map(1, 2 * WINDOW, MIB), Touch(1, WINDOW, write=True))
    assert play(machine, Unmap(1, WINDOW - MIB, WINDOW + 2 * MIB)) == [OK]
    assert machine.processes[1].space.vmas == []
    assert next(iter(machine.domains)).windows == []


def test_munmap_that_cuts_a_window_is_refused_before_anything_is_done() -> None:
    machine = region(sharers=1)
    play(machine, Map(1, WINDOW - MIB, MIB))
    assert play(machine, Unmap(1, WINDOW - MIB, 2 * MIB)) == [refused(errno.EINVAL)]
    assert len(machine.processes[1].space.vmas) == 2


def test_mapping_over_part_of_a_window_is_refused() -> None:
    machine = region(sharers=1)
    assert play(machine, Map(1, WINDOW, PAGE, replace=True), Map(1, WINDOW, PAGE)) == [
        refused(errno.EINVAL), refused(errno.EEXIST)
    ]  # fmt: skip


def test_with_ideal_munmap_takes_what_is_beside_and_cuts_the_domain() -> None:
    machine = region(Config(interface=Interface.IDEAL), sharers=1)
    play(machine, Map(1, WINDOW - MIB, MIB), Touch(1, WINDOW + MIB, write=True, value=3))
    assert play(machine, Unmap(1, WINDOW - MIB, 2 * MIB)) == [OK]
    assert [vma.start for vma in machine.processes[1].space.vmas] == [WINDOW]
    assert play(machine, Touch(1, WINDOW + MIB))[0].value == b"\x03"


def test_mprotect_up_to_a_window() -> None:
    machine = region(sharers=1)
    play(machine, Map(1, WINDOW - MIB, MIB))
    assert play(machine, Protect(1, WINDOW - MIB, 2 * MIB, "r"), Advise(1, WINDOW - MIB, 2 * MIB, "dontneed")) == [
        refused(errno.EINVAL), OK
    ]  # fmt: skip
    assert not machine.processes[1].space.vmas[0].writable


def test_a_rule_that_never_lets_an_access_through_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE))
    monkeypatch.setattr(mappings, "fault", lambda *_: None)
    with pytest.raises(AssertionError, match="for ever"):
        machine.apply(Touch(1, 0))
