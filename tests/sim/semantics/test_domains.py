"""What mshare means in each interface (KERNEL: the posted v2 and v3 series of msharefs, and the 2022-23 flag)."""

import errno
import signal

import pytest

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import (
    Advise,
    AdviseInside,
    Attach,
    Config,
    Create,
    CreateFile,
    Credentials,
    Detach,
    Exec,
    Exit,
    Faults,
    Fork,
    Interface,
    Machine,
    MapInside,
    Outcome,
    Protect,
    ProtectInside,
    PunchFile,
    Resize,
    Spawn,
    Touch,
    Unlink,
    Unmap,
    UnmapInside,
    WriteFile,
    data_bytes,
    fault_counts,
    memcg_bytes,
    page_tables,
    page_tables_bytes,
    snapshot,
    vm_pte,
)
from tests.sim.semantics.scenario import GIB, KIB, MIB, OK, PAGE, WINDOW, play, refused, region

FLAG = Config(interface=Interface.FLAG)
IDEAL = Config(interface=Interface.IDEAL)
SEGFAULT = Outcome(signal=signal.SIGSEGV)


def test_one_processs_fault_fills_the_table_for_all() -> None:
    machine = region(sharers=3)
    play(machine, Touch(1, WINDOW, 16 * MIB, write=True, value=7))
    assert play(machine, Touch(2, 2 * WINDOW, 16 * MIB))[0].value == bytes([7]) * 4096
    # The creator fills each page, and links once; a late one takes one fault per window, which is none of ru_minflt.
    assert fault_counts(machine, 1) == Faults(4096, 1)
    assert fault_counts(machine, 2) == Faults(0, 1)
    assert fault_counts(machine, 3) == Faults(0, 0)


def test_tables_do_not_grow_with_the_sharers() -> None:
    # Measured: 64 MiB take 136 KiB whatever the number of sharers, and a sharer's VmPTE stays at its base.
    machine = region(sharers=6, size=64 * MIB)
    for pid in range(1, 7):
        play(machine, Touch(pid, pid * WINDOW, 64 * MIB, write=True, step=2 * MIB))
    assert page_tables_bytes(machine) == 136 * KIB
    assert [vm_pte(machine, pid) for pid in range(1, 7)] == [0] * 6


def test_a_window_each_for_a_region_of_two() -> None:
    machine = Machine()
    play(machine, Spawn(1), Create(1, "r"), Resize(1, "r", 2 * WINDOW), MapInside(1, "r", WINDOW - MIB, 2 * MIB))
    play(
        machine,
        Attach(1, "r", 4 * WINDOW),
        Touch(1, 5 * WINDOW - MIB, 2 * MIB, write=True),
        Spawn(2),
        Attach(2, "r", WINDOW),
    )
    play(machine, Touch(2, 2 * WINDOW - MIB, 2 * MIB))
    assert fault_counts(machine, 2) == Faults(0, 2)


def test_holes_inside_are_sigsegv_not_zero_pages() -> None:
    machine = region()
    assert play(machine, Touch(2, 2 * WINDOW + 16 * MIB)) == [SEGFAULT]


def test_fault_around_and_holes_are_those_of_the_memory_inside() -> None:
    machine = region(sharers=2)
    play(machine, CreateFile(1, "f", "memfd", MIB), WriteFile(1, "f", 0, MIB, 3), PunchFile(1, "f", 4 * PAGE, PAGE))
    play(machine, MapInside(1, "r", GIB, MIB, file="f"), Touch(2, 2 * WINDOW + GIB, 64 * KIB))
    assert fault_counts(machine, 2).minor == 2


@pytest.mark.parametrize(
    "op",
    [
        Unmap(2, 2 * WINDOW, PAGE),
        Unmap(2, 2 * WINDOW, 16 * MIB),
        Protect(2, 2 * WINDOW, WINDOW, "r"),
        Protect(2, 2 * WINDOW, PAGE, "none"),
        Detach(2, 7 * WINDOW),
        MapInside(1, "r", 0, PAGE, shared=False),
        MapInside(1, "r", 0, PAGE, fixed=False),
        MapInside(1, "r", WINDOW, PAGE),
        MapInside(1, "r", 0, 0),
        UnmapInside(1, "r", -PAGE, PAGE),
        Resize(1, "r", WINDOW),
        Resize(1, "r", 0),
        Attach(1, "r", 3 * WINDOW, shared=False),
        Attach(1, "r", 3 * WINDOW, length=16 * MIB),
        Attach(1, "r", 3 * WINDOW + 2 * MIB),
    ],
    ids=repr,
)
def test_msharefs_refuses_with_einval_and_changes_nothing(op: Unmap) -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, PAGE, write=True), Touch(2, 2 * WINDOW))
    before = snapshot(machine)
    assert play(machine, op) == [refused(errno.EINVAL)]
    assert snapshot(machine) == before


def test_msharefs_takes_dontneed_and_does_nothing() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True, value=5), Advise(2, 2 * WINDOW, 16 * MIB, "dontneed"))
    assert play(machine, Touch(2, 2 * WINDOW))[0].value == b"\x05"


@pytest.mark.parametrize(
    "op", [ProtectInside(1, "r", 0, PAGE, "r"), AdviseInside(1, "r", 0, PAGE, "dontneed")], ids=repr
)
def test_v3_has_no_call_to_protect_or_advise_inside(op: ProtectInside) -> None:
    assert play(region(), op) == [refused(errno.ENOTTY)]


def test_a_size_is_a_whole_number_of_units() -> None:
    machine = Machine()
    play(machine, Spawn(1), Create(1, "r"))
    assert play(machine, Resize(1, "r", WINDOW // 2), Attach(1, "r", WINDOW)) == [refused(errno.EINVAL)] * 2
    assert (
        play(machine, Resize(1, "r", 0), Resize(1, "r", WINDOW), Attach(1, "r", WINDOW))[1:]
        == [refused(errno.EINVAL)] * 2
    )


def test_unmapping_inside_is_a_segfault_for_every_user() -> None:
    machine = region(sharers=3)
    play(machine, *(Touch(pid, pid * WINDOW, write=True) for pid in (1, 2, 3)), UnmapInside(2, "r", 0, 16 * MIB))
    assert page_tables_bytes(machine) == 0
    assert play(machine, Touch(1, WINDOW), Touch(2, 2 * WINDOW), Touch(3, 3 * WINDOW)) == [SEGFAULT] * 3


def test_mapping_inside_replaces_what_was_there() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True, value=1), Touch(2, 2 * WINDOW), MapInside(1, "r", 0, 16 * MIB))
    assert play(machine, Touch(2, 2 * WINDOW))[0].value == b"\x00"


@pytest.mark.parametrize("config", [Config(), IDEAL], ids=lambda config: str(config.interface))
def test_the_owners_exit_tears_the_region_down(config: Config) -> None:
    machine = region(config, sharers=3)
    play(machine, *(Touch(pid, pid * WINDOW, write=True) for pid in (1, 2, 3)), Exit(1))
    assert (page_tables_bytes(machine), data_bytes(machine)) == (0, 0)
    refusals = play(machine, Spawn(4), Attach(4, "r", WINDOW), MapInside(2, "r", 0, PAGE))
    assert refusals[1:] == [refused(errno.EINVAL)] * 2
    assert play(machine, Touch(2, 2 * WINDOW)) == [SEGFAULT]


def test_a_segfault_of_the_owner_is_its_exit() -> None:
    machine = region()
    play(machine, Touch(2, 2 * WINDOW, write=True), Touch(1, 0))
    assert play(machine, Touch(2, 2 * WINDOW)) == [SEGFAULT]


def test_ownership_is_not_inherited() -> None:
    machine = region(sharers=1)
    play(machine, Touch(1, WINDOW, write=True), Fork(1, 2), Exit(1))
    assert play(machine, Touch(2, WINDOW)) == [SEGFAULT]


def test_exec_does_not_end_ownership() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True, value=4), Exec(1))
    assert play(machine, Touch(2, 2 * WINDOW))[0].value == b"\x04"


def test_unlink_leaves_mappings_alive() -> None:
    machine = region()
    play(machine, Touch(1, WINDOW, write=True, value=4), Unlink(1, "r"))
    assert play(machine, Touch(2, 2 * WINDOW), Spawn(3), Attach(3, "r", WINDOW))[2] == refused(errno.ENOENT)
    play(machine, Detach(1, WINDOW), Detach(2, 2 * WINDOW))
    assert machine.tables
    play(machine, Exit(1))
    assert not machine.tables


@pytest.mark.parametrize("interface", list(Interface))
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_nothing_is_left_whatever_the_order(interface: Interface, order: tuple[int, ...]) -> None:
    machine = region(Config(interface=interface), sharers=2)
    play(machine, Touch(1, WINDOW, 4 * MIB, write=True, step=MIB), Fork(2, 3), Unlink(1, "r"))
    play(
        machine,
        *(
            Touch(pid, WINDOW if interface == "flag" or pid == 1 else 2 * WINDOW, 4 * MIB, step=MIB)
            for pid in (1, 2, 3)
        ),
    )
    play(machine, *(Exit(pid) for pid in order))
    assert (machine.tables, machine.frames, machine.domains, machine.charges) == (set(), {}, set(), {})


def test_tables_and_pages_are_charged_to_the_owner() -> None:
    machine = Machine()
    play(
        machine,
        Spawn(1, Credentials(memcg="/owner")),
        Create(1, "r", 0o666),
        Resize(1, "r", WINDOW),
        MapInside(1, "r", 0, MIB),
    )
    play(machine, Spawn(2, Credentials(memcg="/user")), Attach(2, "r", WINDOW), Touch(2, WINDOW, MIB, write=True))
    assert (memcg_bytes(machine, "/owner", "tables"), memcg_bytes(machine, "/owner", "data")) == (3 * PAGE, MIB)
    assert (memcg_bytes(machine, "/user", "tables"), memcg_bytes(machine, "/user", "data")) == (0, 0)


def test_a_private_write_un_shares_exactly_the_tables_on_its_way() -> None:
    machine = region(IDEAL, sharers=2, size=16 * MIB)
    play(machine, MapInside(1, "r", 0, 16 * MIB, shared=False), Touch(1, WINDOW, 16 * MIB, step=2 * MIB))
    assert page_tables(machine) == {Level.PTE: 8, Level.PMD: 1, Level.PUD: 1}
    play(machine, Touch(2, 2 * WINDOW, write=True, value=9))
    assert page_tables(machine) == {Level.PTE: 9, Level.PMD: 2, Level.PUD: 2}
    play(machine, Touch(2, 2 * WINDOW + 2 * MIB, write=True, value=9))
    assert page_tables(machine) == {Level.PTE: 10, Level.PMD: 2, Level.PUD: 2}
    assert [one.value for one in play(machine, Touch(1, WINDOW), Touch(2, 2 * WINDOW))] == [b"\x00", b"\x09"]


def test_shared_memory_beside_private_memory_in_one_table_stays_shared() -> None:
    machine = region(IDEAL, sharers=2, size=MIB)
    play(machine, MapInside(1, "r", MIB, MIB, shared=False), Touch(2, 2 * WINDOW + MIB, write=True, value=9))
    play(machine, Touch(1, WINDOW, write=True, value=4))
    assert [one.value for one in play(machine, Touch(2, 2 * WINDOW), Touch(1, WINDOW + MIB))] == [b"\x04", b"\x00"]


def test_a_private_file_inside_shows_the_file_until_it_is_written() -> None:
    machine = region(IDEAL)
    play(
        machine,
        CreateFile(1, "f", "memfd", PAGE),
        WriteFile(1, "f", 0, PAGE, 1),
        MapInside(1, "r", 0, PAGE, shared=False, file="f"),
    )
    assert play(machine, Touch(1, WINDOW), Touch(2, 2 * WINDOW))[1].value == b"\x01"
    play(machine, Touch(2, 2 * WINDOW, write=True, value=2), WriteFile(1, "f", 0, PAGE, 3))
    assert [one.value for one in play(machine, Touch(1, WINDOW), Touch(2, 2 * WINDOW))] == [b"\x03", b"\x02"]


def test_a_hole_punched_in_a_file_reaches_un_shared_tables_too() -> None:
    machine = region(IDEAL)
    play(
        machine, CreateFile(1, "f", "memfd", PAGE), WriteFile(1, "f", 0, PAGE, 1), MapInside(1, "r", 0, PAGE, file="f")
    )
    play(
        machine,
        MapInside(1, "r", PAGE, PAGE, shared=False),
        Touch(2, 2 * WINDOW + PAGE, write=True),
        Touch(2, 2 * WINDOW),
    )
    play(machine, PunchFile(1, "f", 0, PAGE))
    assert play(machine, Touch(2, 2 * WINDOW))[0].value == b"\x00"


@pytest.mark.parametrize("config", [FLAG, IDEAL], ids=str)
def test_protect_and_unmap_by_one_sharer_are_seen_by_all(config: Config) -> None:
    machine = region(config, sharers=2)
    other = WINDOW if config is FLAG else 2 * WINDOW
    play(machine, Touch(1, WINDOW, 2 * PAGE, write=True, value=1), Touch(2, other, 2 * PAGE))
    assert play(machine, Protect(2, other, PAGE, "r"), Touch(1, WINDOW))[1].value == b"\x01"
    play(machine, Fork(1, 3), Fork(1, 4))
    assert play(machine, Touch(3, WINDOW, write=True)) == [SEGFAULT]
    assert play(machine, Unmap(2, other + PAGE, PAGE), Touch(4, WINDOW + PAGE)) == [OK, SEGFAULT]


def test_dontneed_with_the_flag_is_for_all() -> None:
    machine = region(FLAG)
    play(machine, Touch(1, WINDOW, write=True, value=1), Touch(2, WINDOW), Advise(2, WINDOW, 16 * MIB, "dontneed"))
    assert page_tables(machine)[Level.PTE] == 0
    assert play(machine, Touch(1, WINDOW))[0].value == b"\x01"


def test_the_flag_shares_pte_pages_only() -> None:
    # A second process reads 2 MiB with one fault (stock: 32); 64 such processes add one PTE page, not 64.
    machine = region(FLAG, sharers=8, size=2 * MIB)
    play(machine, WriteFile(1, "r", 0, 2 * MIB, 5), Touch(1, WINDOW, 2 * MIB))
    for pid in range(2, 9):
        play(machine, Touch(pid, WINDOW, 2 * MIB))
        assert fault_counts(machine, pid) == Faults(0, 1)
        assert vm_pte(machine, pid) == 2 * PAGE
    # One more pair of upper tables is the domain's own.
    assert page_tables(machine) == {Level.PTE: 1, Level.PMD: 9, Level.PUD: 9}


@pytest.mark.parametrize(
    ("op", "number"),
    [
        (Attach(3, "r", 2 * WINDOW), errno.EINVAL),
        (Attach(3, "r", WINDOW + PAGE), errno.EINVAL),
        (Attach(3, "r", WINDOW, length=2 * MIB), errno.EINVAL),
        (Attach(3, "nothing", WINDOW), errno.ENOENT),
        (MapInside(1, "r", 0, PAGE), errno.ENOTTY),
        (UnmapInside(1, "r", 0, PAGE), errno.ENOTTY),
    ],
    ids=repr,
)
def test_what_the_flag_refuses(op: Attach, number: int) -> None:
    machine = region(FLAG, sharers=2)
    play(machine, Spawn(3))
    before = snapshot(machine)
    assert play(machine, op) == [refused(number)]
    assert snapshot(machine) == before


def test_the_flag_with_other_things_than_memfd() -> None:
    machine = Machine(FLAG)
    play(machine, Spawn(1), CreateFile(1, "s", "sysv", 2 * MIB), CreateFile(1, "odd", "memfd", 2 * MIB + PAGE))
    assert play(machine, Attach(1, "s", WINDOW), Attach(1, "odd", WINDOW)) == [refused(errno.EINVAL)] * 2


def test_a_private_mapping_with_the_flag_is_an_ordinary_one() -> None:
    machine = region(FLAG, sharers=1)
    play(machine, WriteFile(1, "r", 0, PAGE, 1), Spawn(2), Attach(2, "r", 4 * WINDOW, shared=False))
    play(machine, Touch(2, 4 * WINDOW, write=True, value=8))
    assert [one.value for one in play(machine, Touch(1, WINDOW), Touch(2, 4 * WINDOW))] == [b"\x01", b"\x08"]
    assert fault_counts(machine, 2).linking == 0


def test_with_the_flag_nobody_owns_and_the_last_one_frees() -> None:
    machine = region(FLAG, sharers=2)
    play(machine, Touch(1, WINDOW, write=True, value=3), Exit(1))
    assert play(machine, Touch(2, WINDOW))[0].value == b"\x03"
    play(machine, Detach(2, WINDOW))
    assert not machine.domains
    assert not machine.tables


def test_a_window_must_fit_and_be_free() -> None:
    machine = region(sharers=2)
    top = machine.config.geometry.address_space
    assert play(machine, Attach(1, "r", WINDOW), Attach(1, "r", top), Create(2, "r")) == [
        refused(errno.EEXIST), refused(errno.ENOMEM), refused(errno.EEXIST)
    ]  # fmt: skip
