import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from mshare_bench.errors import CapabilityError, StoreError
from mshare_bench.real.knobs import journal
from mshare_bench.real.knobs.journal import knobs_set, restore_stale, state_folder
from mshare_bench.real.knobs.knob import Knob, More

_OTHER_RUN = """
import os, signal, sys
from pathlib import Path
from mshare_bench.real.knobs.journal import knobs_set
from mshare_bench.real.knobs.knob import Knob, More
folder = Path(sys.argv[1])
with knobs_set({Knob(name, folder / name): value for name, value in (a.split("=") for a in sys.argv[2:])}, folder / "state"):
    print("set", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def knob(tmp_path):
    (tmp_path / "level").write_text("low\n")
    return Knob("level", tmp_path / "level")


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@contextlib.contextmanager
def other_run(folder, *values):
    run = subprocess.Popen(
        [sys.executable, "-c", _OTHER_RUN, str(folder), *values], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert run.stdout.readline() == b"set\n"
        yield run
    finally:
        run.kill()
        run.communicate()


def entries(state):
    return json.loads((state / "knobs.json").read_text())["entries"]


def test_set_and_put_back(knob, state):
    with knobs_set({knob: "high"}, state) as before:
        assert knob.read() == "high"
        assert before == {knob: "low"}
        (entry,) = entries(state)
        assert (entry["old"], entry["new"], entry["pid"]) == ("low", "high", os.getpid())
    assert knob.read() == "low"
    assert entries(state) == []


def test_put_back_after_an_error(knob, state):
    with pytest.raises(ZeroDivisionError), knobs_set({knob: "high"}, state):
        1 / 0  # noqa: B018
    assert knob.read() == "low"


def test_on_disk_before_the_knob_is_written(knob, state, monkeypatch):
    seen = []
    write = Knob.write

    def watched(self, value):
        seen.append((value, [entry["new"] for entry in entries(state)]))
        write(self, value)

    monkeypatch.setattr(Knob, "write", watched)
    with knobs_set({knob: "high"}, state):
        pass
    assert seen[0] == ("high", ["high"])


def test_nested(knob, state):
    with knobs_set({knob: "mid"}, state):
        with knobs_set({knob: "high"}, state) as before:
            assert before == {knob: "mid"}
        assert knob.read() == "mid"
    assert knob.read() == "low"


def test_left_in_the_other_order(knob, state):
    outer, inner = knobs_set({knob: "mid"}, state), knobs_set({knob: "high"}, state)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert knob.read() == "high"
    inner.__exit__(None, None, None)
    assert knob.read() == "low"
    assert entries(state) == []


def test_relative(tmp_path, state):
    (tmp_path / "pool").write_text("5\n")
    pool = Knob("pool", tmp_path / "pool", unit_bytes=1)
    with knobs_set({pool: More(3)}, state):
        assert pool.read() == "8"
        with knobs_set({pool: More(2)}, state):
            assert pool.read() == "10"
        assert pool.read() == "8"
    assert pool.read() == "5"


def test_the_second_that_fails_undoes_the_first(knob, tmp_path, state):
    with (
        pytest.raises(CapabilityError, match="ghost"),
        knobs_set({knob: "high", Knob("ghost", tmp_path / "g"): 1}, state),
    ):
        pytest.fail("entered")
    assert knob.read() == "low"
    assert entries(state) == []


def test_less_than_asked_is_put_back(tmp_path, state, monkeypatch):
    (tmp_path / "pool").write_text("5\n")
    pool = Knob("pool", tmp_path / "pool", unit_bytes=1)
    write = Knob.write

    def short(self, value):
        write(self, str(min(int(value), 7)))
        if int(value) > 7:
            raise CapabilityError(f"pool: asked for {value}, got 7")

    monkeypatch.setattr(Knob, "write", short)
    with pytest.raises(CapabilityError, match="asked for 15, got 7"), knobs_set({pool: More(10)}, state):
        pytest.fail("entered")
    assert pool.read() == "5"
    assert entries(state) == []


def test_a_third_partys_value_is_left_alone(knob, state, caplog):
    with knobs_set({knob: "high"}, state):
        knob.path.write_text("theirs")
    assert knob.read() == "theirs"
    assert "somebody else" in caplog.text
    assert entries(state) == []


def test_a_killed_run_is_undone_by_the_next_start(knob, tmp_path, state):
    with other_run(tmp_path, "level=high") as run:
        assert restore_stale(state) == []
        assert knob.read() == "high"
        run.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)  # even as a zombie it owns nothing
        (restored,) = restore_stale(state)
    assert (restored.knob, restored.pid, restored.value, restored.outcome) == ("level", run.pid, "low", "restored")
    assert knob.read() == "low"
    assert entries(state) == []
    assert restore_stale(state) == []


def test_a_killed_run_is_undone_by_the_next_that_sets_the_knob(knob, tmp_path, state):
    with other_run(tmp_path, "level=high"):
        pass
    with knobs_set({knob: "mid"}, state) as before:
        assert before == {knob: "low"}
    assert knob.read() == "low"


def test_a_killed_run_whose_knob_somebody_changed_since(knob, tmp_path, state):
    with other_run(tmp_path, "level=high"):
        pass
    knob.path.write_text("theirs")
    (restored,) = restore_stale(state)
    assert (restored.outcome, restored.value) == ("foreign", "theirs")
    assert knob.read() == "theirs"


def test_a_living_owner_is_named_and_not_undone(knob, tmp_path, state):
    with other_run(tmp_path, "level=high") as run:
        with (
            pytest.raises(CapabilityError, match=f"level: process {run.pid} has set it to high"),
            knobs_set({knob: "mid"}, state),
        ):
            pytest.fail("entered")
        # The same value is no way in either: it would go when the owner leaves.
        with pytest.raises(CapabilityError, match=str(run.pid)), knobs_set({knob: "high"}, state):
            pytest.fail("entered")
        assert knob.read() == "high"
        run.communicate(b"\n")
        assert knob.read() == "low"
    with knobs_set({knob: "mid"}, state):
        assert knob.read() == "mid"


def test_killed_while_a_pool_grew(tmp_path, state):
    (tmp_path / "pool").write_text("5\n")
    pool = Knob("pool", tmp_path / "pool", unit_bytes=1)
    with knobs_set({pool: More(10)}, state):
        stale = entries(state)
    for at_death, outcome, afterwards in (("5", "unchanged", "5"), ("9", "restored", "5"), ("16", "foreign", "16")):
        dead = {**stale[0], "start": 1}
        (state / "knobs.json").write_text(json.dumps({"schema": 1, "entries": [dead]}))
        pool.path.write_text(at_death)
        (restored,) = restore_stale(state)
        assert (restored.outcome, pool.read()) == (outcome, afterwards)


def test_nested_values_of_a_killed_run_come_off_in_turn(knob, state):
    with knobs_set({knob: "mid"}, state), knobs_set({knob: "high"}, state):
        stale = [{**entry, "start": 1} for entry in entries(state)]
    knob.path.write_text("high")
    (state / "knobs.json").write_text(json.dumps({"schema": 1, "entries": stale}))
    assert [item.value for item in restore_stale(state)] == ["mid", "low"]
    assert knob.read() == "low"


def test_another_boot_is_dropped(knob, state):
    with knobs_set({knob: "high"}, state):
        stale = [{**entry, "boot": "earlier"} for entry in entries(state)]
    knob.path.write_text("high")
    (state / "knobs.json").write_text(json.dumps({"schema": 1, "entries": stale}))
    assert [item.outcome for item in restore_stale(state)] == ["rebooted"]
    assert knob.read() == "high"
    assert entries(state) == []


def test_what_cannot_be_put_back_stays_on_the_list(tmp_path, state):
    gone = Knob("gone", tmp_path / "gone")
    gone.path.write_text("a")
    with knobs_set({gone: "b"}, state):
        gone.path.unlink()
    assert [entry["knob"] for entry in entries(state)] == ["gone"]
    gone.path.write_text("b")
    assert gone.read() == "b"


def test_a_forked_child_leaves_the_knob_to_its_parent(knob, state):
    with knobs_set({knob: "high"}, state):
        child = os.fork()
        if not child:
            try:
                os._exit(_leave_as_child(state))
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert knob.read() == "high"
    assert knob.read() == "low"


def _leave_as_child(state):
    (entry,) = journal._load(state)
    journal._leave(state, entry, entry.pid)
    return 0


def test_a_corrupt_journal_stops_with_one_line(knob, state):
    state.mkdir()
    for text in ("", "[]", '{"schema": 1}', '{"schema": 1, "entries": [{"x": 1}]}', '{"schema": 99, "entries": []}'):
        (state / "knobs.json").write_text(text)
        with pytest.raises(StoreError, match=r"knobs\.json") as error, knobs_set({knob: "high"}, state):
            pytest.fail("entered")
        assert "\n" not in str(error.value)
        assert knob.read() == "low"


def test_an_unwritable_journal_sets_nothing(knob, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="journal"), knobs_set({knob: "high"}, tmp_path / "file"):
        pytest.fail("entered")
    assert knob.read() == "low"


def test_where_the_journal_is(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "mshare-bench"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "mshare-bench"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert str(state_folder()) == "/run/mshare-bench"
