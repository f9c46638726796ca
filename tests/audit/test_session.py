"""How an audit deals with processes that do not hold still."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from mshare_bench.audit import session as module
from mshare_bench.audit.address_spaces import read_candidate
from mshare_bench.audit.session import Session
from mshare_bench.domain.geometry import X86_64
from mshare_bench.real.agent import Map, Touch
from tests.audit.scene import BASE, MIB, agents, memfd_of, sharing

pytestmark = pytest.mark.kernel


def read(pids):
    session = Session(X86_64)
    session.read([read_candidate(pid) for pid in pids])
    return session


def test_tables_that_come_after_the_count_was_read_are_not_lost():
    # The kernel's count is older than the tables: the process is read again, with a new count.
    with memfd_of(16 * MIB) as fd, agents(sharing(fd, 16 * MIB), count=3, fds=[fd]) as pids:
        session = Session(X86_64)
        candidates = [read_candidate(pid) for pid in pids]
        stale = candidates[1]
        candidates[1] = replace(stale, vmpte_bytes=stale.vmpte_bytes - 3 * 4096)
        session.read(candidates)
    spaces = {space.group[0].pid: space for space in session.spaces}
    assert {spaces[pid].attributed * 4096 - spaces[pid].vmpte_bytes for pid in pids} == {0}
    assert spaces[pids[1]].vmpte_bytes == stale.vmpte_bytes


def test_address_spaces_that_are_alike_are_counted_with_a_weight():
    with memfd_of(32 * MIB) as fd, agents(sharing(fd, 32 * MIB), count=40, fds=[fd]) as pids:
        session = read(pids)
    rows = {space.usage for space in session.spaces}
    assert len(rows) < 10, "most of forty forked processes share a row"
    assert len(session.spaces) == 40
    usage = session.usage()
    for space in session.spaces:
        assert usage.tables[usage.space == space.usage].sum() + sum(n for _, n in space.hidden) == space.attributed


def test_more_tables_than_were_guessed_are_found():
    # The first process sets the guess; the others have more, in places where it had nothing.
    with memfd_of(64 * MIB) as fd:
        few = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=8, stride=2 * MIB)]
        many = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=32, stride=2 * MIB)]
        with agents(few, many, many, many, count=24, fds=[fd]) as pids:
            session = read(pids)
    assert all(space.attributed * 4096 == space.vmpte_bytes for space in session.spaces)
    tables = session.tally.tables[0]
    assert tables.max() == 6 * 8 + 18 * 32


def test_one_look_confirms_those_that_are_alike(monkeypatch):
    thorough = []
    original = Session._again
    monkeypatch.setattr(Session, "_again", lambda self, space: thorough.append(space) or original(self, space))
    with memfd_of(64 * MIB) as fd:
        # Every other table: room for more, so a guess is never complete. Then all tables are emptied in one place.
        program = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=16, stride=4 * MIB)]
        with agents(program, count=30, fds=[fd]) as pids:
            os.ftruncate(fd, 60 * MIB)
            session = read(pids)
    # One table of each (that of 60 to 62 MiB) is empty now and shows nowhere.
    assert {space.vmpte_bytes - space.attributed * 4096 for space in session.spaces} == {4096}
    assert len(thorough) < 10, "not one thorough look for each of thirty"


def test_a_process_that_ends_at_any_moment_is_named(monkeypatch):
    for moment in ("/proc/{}/maps", "open"):
        victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        candidate = read_candidate(victim.pid)
        session = Session(X86_64)
        original = module.read_file if moment != "open" else session._reader.open

        def end(path, victim=victim, original=original):
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            return original(path)

        with monkeypatch.context() as patch:
            if moment == "open":
                patch.setattr(session._reader, "open", end)
            else:
                patch.setattr(module, "read_file", end)
            session.read([candidate])
        victim.communicate()
        assert [(one.pid, one.reason, one.vmpte_bytes) for one in session.unread] == [
            (victim.pid, "ended while it was read", None)
        ]
        assert session.spaces == []


def test_many_small_batches_give_the_same_sums(monkeypatch):
    with memfd_of(32 * MIB) as fd, agents(sharing(fd, 32 * MIB, step=300), count=30, fds=[fd]) as pids:
        whole = read(pids)
        monkeypatch.setattr(module, "largest_batch", lambda *, wide: 4)
        parts = read(pids)
    assert whole.tally.tables.tolist() == parts.tally.tables.tolist()
    assert whole.tally.exclusive.tolist() == parts.tally.exclusive.tolist()
    assert whole.tally.mappers.tolist() == parts.tally.mappers.tolist()
