"""A folder of one run's own, that is gone afterwards, also after `kill -9`.

Real programs want a directory for their data and sockets. Each run makes one below ``$TMPDIR`` (``/var/tmp`` by default: what
is on disk there is not memory), with a note of its owner beside it. It is removed at the end of the ``with`` block; the folders
of owners that are dead are removed by :func:`remove_stale_folders`, which every run calls first. With them go the SysV segments
that a PostgreSQL, killed there, has left: its ``postmaster.pid`` names them.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import read_text, start_time

__all__ = ["folders_root", "private_folder", "remove_stale_folders"]

_OWNER = "owner.json"
_IPC_RMID, _IPC_STAT = 0, 2
_BOOT = "/proc/sys/kernel/random/boot_id"


def folders_root() -> Path:
    """Give the folder in which the runs of this user have theirs."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp") / f"mshare-apps-{os.geteuid()}"


@contextlib.contextmanager
def private_folder(root: Path | None = None) -> Iterator[Path]:
    """
    Make a folder for the time of a ``with`` block.

    Other users may pass through it (a server that refuses root must reach its data) and not list it.

    Parameters
    ----------
    root : Path, optional
        Where; :func:`folders_root` by default.

    Raises
    ------
    CapabilityError
        When it can't be made.
    """
    where = folders_root() if root is None else root
    remove_stale_folders(where)
    folder = where / secrets.token_hex(4)
    try:
        where.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o711)
        owner = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": read_text(_BOOT)}
        (folder / _OWNER).write_text(json.dumps(owner))
    except OSError as error:
        raise CapabilityError(f"{folder}: no folder for a run's servers can be made there: {error.strerror}") from error
    owner_pid = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner_pid:
            _remove(folder)


def remove_stale_folders(root: Path | None = None) -> list[Path]:
    """
    Remove the folders of owners that are dead, with what they left in the kernel.

    Returns
    -------
    list of Path
        Those that were removed.
    """
    where = folders_root() if root is None else root
    removed = []
    for folder in sorted(where.glob("*/")) if where.is_dir() else []:
        if not _alive(folder / _OWNER):
            _remove(folder)
            removed.append(folder)
    return removed


def _alive(note: Path) -> bool:
    try:
        owner = json.loads(note.read_text())
    except (OSError, ValueError):
        return False
    return bool(owner["boot"] == read_text(_BOOT) and start_time(owner["pid"]) == owner["start"])


def _remove(folder: Path) -> None:
    for note in folder.glob("*/postmaster.pid"):
        lines = note.read_text().splitlines()
        if len(lines) > 6 and len(lines[6].split()) == 2:  # the seventh line: key and id of the SysV segment
            _remove_segment(int(lines[6].split()[1]))
    shutil.rmtree(folder, ignore_errors=True)


def _remove_segment(identifier: int) -> None:
    """Remove a SysV segment unless somebody has it attached."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = ctypes.create_string_buffer(256)  # struct shmid_ds is smaller on every architecture
    if libc.shmctl(identifier, _IPC_STAT, state) != 0:
        return
    # x86-64 and arm64: ipc_perm 48, shm_segsz 8, three times 8, two pids 4 each, then shm_nattch.
    attached = int.from_bytes(state.raw[88:96], "little")
    if not attached:
        libc.shmctl(identifier, _IPC_RMID, None)
