"""Who may come in: mode bits, capabilities, namespaces; and the hole that v3 leaves."""

import errno
import signal

import pytest

from mshare_bench.sim.semantics import (
    Attach,
    Config,
    Create,
    Credentials,
    Interface,
    Machine,
    MapInside,
    Outcome,
    Protect,
    Resize,
    Spawn,
    Touch,
    Unlink,
    UnmapInside,
    memcg_bytes,
    snapshot,
)
from tests.sim.semantics.scenario import MIB, OK, PAGE, WINDOW, play, refused

OWNER = Credentials(uid=1, gid=1, memcg="/owner")
LAX = Config(strict_permissions=False)


def shared(mode: int, config: Config | None = None) -> Machine:
    machine = Machine(config)
    play(machine, Spawn(1, OWNER), Create(1, "r", mode), Resize(1, "r", WINDOW), MapInside(1, "r", 0, MIB))
    play(machine, Attach(1, "r", WINDOW), Touch(1, WINDOW, write=True, value=1))
    return machine


@pytest.mark.parametrize(
    ("mode", "who", "prot", "number"),
    [
        (0o600, Credentials(uid=1, gid=9), "rw", 0),
        (0o600, Credentials(uid=2, gid=1), "r", errno.EACCES),
        (0o640, Credentials(uid=2, gid=1), "r", 0),
        (0o640, Credentials(uid=2, gid=1), "rw", errno.EACCES),
        (0o606, Credentials(uid=2, gid=1), "r", errno.EACCES),
        (0o606, Credentials(uid=2, gid=2), "rw", 0),
        (0o060, Credentials(uid=1, gid=1), "r", errno.EACCES),
        (0o600, Credentials(uid=2, gid=2, capabilities=frozenset({"CAP_DAC_OVERRIDE"})), "rw", 0),
        (
            0o600,
            Credentials(uid=2, gid=2, user_ns="jail", capabilities=frozenset({"CAP_DAC_OVERRIDE"})),
            "r",
            errno.EACCES,
        ),
        (0o666, Credentials(uid=1, gid=1, mount_ns="other"), "r", errno.ENOENT),
    ],
)
def test_who_may_attach(mode: int, who: Credentials, prot: str, number: int) -> None:
    machine = shared(mode)
    play(machine, Spawn(2, who))
    before = snapshot(machine)
    assert play(machine, Attach(2, "r", WINDOW, prot)) == [refused(number)]
    assert not number or snapshot(machine) == before


def test_a_refused_attach_charges_nobody() -> None:
    machine = shared(0o600)
    play(machine, Spawn(2, Credentials(uid=2, gid=2, memcg="/stranger")), Attach(2, "r", WINDOW))
    assert memcg_bytes(machine, "/stranger", "tables") == memcg_bytes(machine, "/stranger", "data") == 0


def test_a_read_only_attacher_reads_and_does_not_write() -> None:
    machine = shared(0o644)
    play(machine, Spawn(2, Credentials(uid=2, gid=2)), Attach(2, "r", WINDOW, "r"))
    assert play(machine, Touch(2, WINDOW))[0].value == b"\x01"
    # The entry in the shared table is writable: what holds the write back is the link.
    assert play(machine, Touch(2, WINDOW, write=True)) == [Outcome(signal=signal.SIGSEGV)]
    assert play(machine, Touch(1, WINDOW))[0].value == b"\x01"


def test_a_read_only_attacher_of_v3_writes_and_unmaps() -> None:
    machine = shared(0o644, LAX)
    play(machine, Spawn(2, Credentials(uid=2, gid=2)), Attach(2, "r", WINDOW, "r"))
    assert play(machine, Touch(2, WINDOW, write=True, value=6), UnmapInside(2, "r", 0, PAGE)) == [OK, OK]
    assert play(machine, Touch(1, WINDOW)) == [Outcome(signal=signal.SIGSEGV)]


def test_a_read_only_attacher_may_not_change_what_is_inside() -> None:
    machine = shared(0o644)
    play(machine, Spawn(2, Credentials(uid=2, gid=2)))
    assert (
        play(machine, UnmapInside(2, "r", 0, PAGE), MapInside(2, "r", 0, PAGE), Resize(2, "r", WINDOW))
        == [refused(errno.EACCES)] * 3
    )


def test_a_read_only_window_does_not_protect_for_others() -> None:
    machine = shared(0o644, Config(interface=Interface.IDEAL))
    play(machine, Spawn(2, Credentials(uid=2, gid=2)), Attach(2, "r", WINDOW, "r"))
    assert play(machine, Protect(2, WINDOW, PAGE, "none")) == [refused(errno.EACCES)]


@pytest.mark.parametrize(
    ("who", "config", "number"),
    [
        (Credentials(uid=2, gid=2), None, errno.EPERM),
        (Credentials(uid=1, gid=2), None, 0),
        (Credentials(uid=2, gid=2, capabilities=frozenset({"CAP_FOWNER"})), None, 0),
        (Credentials(uid=2, gid=2, user_ns="jail", capabilities=frozenset({"CAP_FOWNER"})), None, errno.EPERM),
        (Credentials(uid=2, gid=2), LAX, 0),
    ],
)
def test_who_may_unlink(who: Credentials, config: Config | None, number: int) -> None:
    machine = shared(0o600, config)
    play(machine, Spawn(2, who))
    assert play(machine, Unlink(2, "r")) == [refused(number)]


def test_each_mount_is_an_instance_of_its_own() -> None:
    machine = shared(0o666)
    play(machine, Spawn(2, Credentials(uid=1, gid=1, mount_ns="other")))
    assert (
        play(machine, Create(2, "r"), Resize(2, "r", WINDOW), MapInside(2, "r", 0, PAGE), Attach(2, "r", WINDOW))
        == [OK] * 4
    )
    assert play(machine, Touch(2, WINDOW))[0].value == b"\x00"
