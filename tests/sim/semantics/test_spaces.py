"""Processes, exec, exit and files."""

import errno

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import (
    CreateFile,
    Credentials,
    Exec,
    Exit,
    Fork,
    Machine,
    Map,
    Pin,
    PunchFile,
    Spawn,
    Touch,
    Unlink,
    WriteFile,
    data_bytes,
    fault_counts,
    vm_pte,
)
from tests.sim.semantics.scenario import MIB, PAGE, play, refused


def test_exec_begins_anew_and_keeps_the_counts() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True), Pin(1, 0), Exec(1))
    assert (vm_pte(machine, 1), data_bytes(machine), fault_counts(machine, 1).minor) == (0, 0, 1)


def test_exec_of_one_leaves_the_space_to_the_other() -> None:
    machine = Machine()
    play(machine, Spawn(1), Map(1, 0, PAGE), Touch(1, 0, write=True, value=3), Fork(1, 2, share_mm=True), Exec(1))
    assert play(machine, Touch(2, 0))[0].value == b"\x03"


def test_a_file_lives_as_long_as_it_is_mapped() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", PAGE),
        WriteFile(1, "f", 0, PAGE, 6),
        Map(1, 0, PAGE, "f"),
        Unlink(1, "f"),
    )
    assert play(machine, Touch(1, 0))[0].value == b"\x06"
    play(machine, Exit(1))
    assert not machine.frames


def test_writing_a_file_makes_it_grow() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", 0),
        WriteFile(1, "f", 0, MIB, 1),
        Map(1, 0, MIB, "f", shared=True),
    )
    assert play(machine, Touch(1, MIB - PAGE))[0].value == b"\x01"


def test_a_hole_takes_the_page_from_every_mapping_but_not_its_private_copies() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "f", "memfd", PAGE),
        WriteFile(1, "f", 0, PAGE, 6),
        Map(1, 0, PAGE, "f", shared=True),
    )
    play(machine, Map(1, PAGE, PAGE, "f"), Touch(1, 0), Touch(1, PAGE, write=True, value=7), PunchFile(1, "f", 0, PAGE))
    assert [one.value for one in play(machine, Touch(1, 0), Touch(1, PAGE))] == [b"\x00", b"\x07"]


def test_refusals_and_wrong_input() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1),
        CreateFile(1, "s", "sysv", PAGE),
        CreateFile(1, "f", "memfd", PAGE),
        Spawn(2, Credentials(uid=5)),
    )
    numbers = [errno.EINVAL, errno.ENOENT, errno.ENOENT, errno.EPERM]
    ops = [WriteFile(1, "s", 0, PAGE), WriteFile(1, "x", 0, PAGE), Unlink(1, "x"), Unlink(2, "f")]
    assert play(machine, *ops) == [refused(number) for number in numbers]
    for op in (WriteFile(1, "f", 5, PAGE), PunchFile(1, "f", 0, 7)):
        with pytest.raises(ConfigError, match="whole pages"):
            machine.apply(op)
