"""The journal of knobs: what was set, by whom, and what it was before; on disk before anything is set.

A run may be killed at any moment, so putting a knob back cannot depend on the run. Before a knob is written, an entry
with the boot id, the owner (pid and start time), the old value and the new one is on disk (written to a temporary name,
fsync, rename). :func:`knobs_set` puts the knobs back at its end; :func:`restore_stale`, called at every start, puts back
what a dead owner left. The rules:

* A knob is put back only if it still has the value that was set. A third party's value is left alone, and said. (A
  hugepage pool may be found half-way between the two: its owner died while it grew.)
* An entry of another boot is dropped: the knobs started anew.
* A knob has one living owner. Another process that wants it is refused, with the owner's pid.
* Within one process calls may be nested; the value underneath comes back, whatever the order of leaving.

Where: ``/run/mshare-bench`` for root, since knobs belong to the machine and every root run has to find the same journal;
otherwise ``$XDG_STATE_HOME/mshare-bench``, which defaults to ``~/.local/state/mshare-bench``.

Limits: runs in different PID namespaces that share ``/run`` cannot tell whether the other is alive, and a process with
the owner's pid *and* start time in another namespace would be taken for it.
"""

import contextlib
import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mshare_bench.errors import CapabilityError, StoreError
from mshare_bench.real.counters.procfs import read_text, start_time
from mshare_bench.real.knobs.knob import Knob, More

__all__ = ["Restored", "knobs_set", "restore_stale", "state_folder"]

_LOG = logging.getLogger(__name__)
_SCHEMA = 1
_THREADS = threading.RLock()


@dataclass(frozen=True, slots=True)
class _Entry:
    token: str
    boot: str
    pid: int
    start: int
    knob: str
    path: str
    unit_bytes: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Restored:
    """
    What was done about one entry that a dead owner left.

    Attributes
    ----------
    knob, path : str
        The knob's name and file.
    pid : int
        The owner that died.
    value : str
        The value that the knob has now.
    outcome : {"restored", "unchanged", "foreign", "failed", "rebooted"}
        Put back; had its old value anyhow; somebody else set another value since, so it was left alone; could not be
        written (the entry stays); of an earlier boot, dropped.
    """

    knob: str
    path: str
    pid: int
    value: str
    outcome: str


def state_folder() -> Path:
    """Give the folder of the journal for this user; it need not be there yet."""
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/mshare-bench")
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "mshare-bench"


@contextlib.contextmanager
def knobs_set(values: Mapping[Knob, str | int | More], folder: Path | None = None) -> Iterator[Mapping[Knob, str]]:
    """
    Set knobs for the time of a ``with`` block, and put them back at its end.

    Parameters
    ----------
    values : mapping of Knob to (str, int or More)
        What to set, in this order; ``More(n)`` is n on top of what is there. A knob that has its value already is not
        written, but still claimed for the time of the block.
    folder : Path, optional
        Where the journal is; :func:`state_folder` by default.

    Yields
    ------
    mapping of Knob to str
        The values that the knobs had before.

    Raises
    ------
    CapabilityError
        When a knob cannot be set, gives less than was asked for (names both), or belongs to another living run
        (names its pid). What had been set by then is put back.
    StoreError
        When the journal cannot be read or written: then nothing is set.
    """
    where = state_folder() if folder is None else folder
    before: dict[Knob, str] = {}
    with contextlib.ExitStack() as undo:
        owner = os.getpid()
        for knob, value in values.items():
            entry = _set(where, knob, value)
            before[knob] = entry.old
            undo.callback(_leave, where, entry, owner)
        yield before


def restore_stale(folder: Path | None = None) -> list[Restored]:
    """
    Put back what owners that are dead now left set; call it at every start.

    Returns
    -------
    list of Restored
        What was done, newest entry first; empty when there was nothing.

    Raises
    ------
    StoreError
        When the journal is there and cannot be read or written.
    """
    where = state_folder() if folder is None else folder
    if not (where / "knobs.json").exists():
        return []
    done: list[Restored] = []
    with _locked(where):
        entries = _load(where)
        kept: list[_Entry] = []
        # Newest first: under a nested value lies the one that an earlier entry set.
        for entry in reversed(entries):
            if _alive(entry):
                kept.append(entry)
                continue
            restored = _restore(entry)
            done.append(restored)
            if restored.outcome == "failed":
                kept.append(entry)
        if done:
            _save(where, kept[::-1])
    for item in done:
        _LOG.warning("knob %s, left by process %d, is %s: %s", item.knob, item.pid, item.outcome, item.value)
    return done


def _set(where: Path, knob: Knob, value: str | int | More) -> _Entry:
    restore_stale(where)
    with _locked(where):
        entries = _load(where)
        for other in entries:
            if other.path == str(knob.path) and (other.pid, other.start) != _me():
                state = "is still running" if _alive(other) else "died, and it can't be put back"
                raise CapabilityError(f"{knob.name}: process {other.pid} has set it to {other.new} and {state}")
        old, new = knob.read(), knob.target(value)
        pid, start = _me()
        entry = _Entry(os.urandom(8).hex(), _boot(), pid, start, knob.name, str(knob.path), knob.unit_bytes, old, new)
        _save(where, [*entries, entry])
        try:
            knob.write(new)
        except BaseException:
            # An interrupt in the middle of a growing pool counts as well: whatever is there now is ours to put back.
            if _restore(entry).outcome != "failed":
                _save(where, entries)
            raise
        return entry


def _leave(where: Path, entry: _Entry, owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child that unwinds the parent's stack: the knob is the parent's
    with _locked(where):
        entries = _load(where)
        at = next((at for at, other in enumerate(entries) if other.token == entry.token), None)
        if at is None:
            return
        entry = entries.pop(at)
        later = next((n for n in range(at, len(entries)) if entries[n].path == entry.path), None)
        if later is not None:
            # Somebody nested is still inside: what lies under *them* from now on is what lay under us.
            entries[later] = replace(entries[later], old=entry.old)
        else:
            outcome = _restore(entry)
            if outcome.outcome == "failed":
                _LOG.error("knob %s could not be put back to %s; the next start tries again", entry.knob, entry.old)
                return
            if outcome.outcome == "foreign":
                _LOG.warning("knob %s was changed by somebody else to %s and is left so", entry.knob, outcome.value)
        _save(where, entries)


def _restore(entry: _Entry) -> Restored:
    def result(outcome: str, value: str) -> Restored:
        return Restored(entry.knob, entry.path, entry.pid, value, outcome)

    knob = Knob(entry.knob, Path(entry.path), entry.unit_bytes)
    if entry.boot != _boot():
        return result("rebooted", "")
    try:
        now = knob.read()
    except CapabilityError:
        return result("failed", "")
    if now == entry.old:
        return result("unchanged", now)
    if now != entry.new and not _partly(entry, now):
        return result("foreign", now)
    try:
        knob.write(entry.old)
    except CapabilityError:
        return result("failed", now)
    return result("restored", entry.old)


def _partly(entry: _Entry, now: str) -> bool:
    # A pool on its way from old to new when its owner died, or one that could not be shrunk in full the first time.
    return entry.unit_bytes > 0 and (
        min(int(entry.old), int(entry.new)) <= int(now) <= max(int(entry.old), int(entry.new))
    )


def _me() -> tuple[int, int]:
    pid = os.getpid()
    return pid, start_time(pid) or 0


def _alive(entry: _Entry) -> bool:
    return entry.boot == _boot() and start_time(entry.pid) == entry.start


def _boot() -> str:
    return read_text("/proc/sys/kernel/random/boot_id") or ""


@contextlib.contextmanager
def _locked(where: Path) -> Iterator[None]:
    # One writer at a time, on the machine and among our own threads. The lock goes with the process that holds it.
    with _THREADS:
        try:
            where.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(where / "knobs.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write the journal of knobs in {where}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _load(where: Path) -> list[_Entry]:
    path = where / "knobs.json"
    try:
        document = json.loads(path.read_text())
        if document["schema"] != _SCHEMA:
            raise StoreError(f"{path} has schema {document['schema']}, this version reads {_SCHEMA}")
        return [_Entry(**entry) for entry in document["entries"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = "check the knobs by hand and remove it"
        raise StoreError(f"the journal of knobs {path} cannot be read ({error}); {advice}") from error


def _save(where: Path, entries: list[_Entry]) -> None:
    try:
        document = {"schema": _SCHEMA, "entries": [asdict(entry) for entry in entries]}
        _replace(where / "knobs.json", json.dumps(document, indent=1))
    except OSError as error:
        raise StoreError(f"cannot write the journal of knobs in {where}: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    # One temporary name is enough under the lock, and what a killed writer left of it is written over.
    temporary = path.with_name(".knobs.json.new")
    with open(temporary, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
