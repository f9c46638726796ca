"""The folder of a store: who may write it, and what its `store.json` says."""

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from mshare_bench.errors import StoreError

__all__ = ["Lock", "claim", "read_info"]

_OURS = {"store.json", "parts", ".lock", "cells.arrow", ".store.json.tmp"}
_FIELDS = {"name", "sweep", "id", "created", "config", "tracking", "schema_version"}


class Lock:
    """An exclusive lock of a folder; the kernel lets it go when its owner dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise StoreError(f"out={folder}: in use by another run (process {owner})") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def claim(folder: Path) -> Lock:
    """Make the folder where it is not there, lock it, and clear what a writer that died has left half-written.

    Raises
    ------
    StoreError
        When it holds something else, can't be written, or is locked by a process that lives.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = {path.name for path in folder.iterdir()}
        if held and not held & {"store.json", "cells.arrow"} and held - _OURS:
            raise StoreError(
                f"out={folder}: holds something else ({min(held - _OURS)}, ...) and no results; name another folder"
            )
        lock = Lock(folder)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"out={folder}: not a folder") from None
    except OSError as error:
        raise StoreError(f"out={folder}: can't be written ({error.strerror or error})") from error
    for place in (folder, folder / "parts"):
        for path in place.glob(".*.tmp"):
            path.unlink(missing_ok=True)
    return lock


def read_info(folder: Path) -> dict[str, Any] | None:
    """Fields of `store.json`, None where there is none; what a newer version adds is left out.

    Raises
    ------
    StoreError
        When it can't be read.
    """
    path = folder / "store.json"
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or not {"name", "sweep", "id", "created"} <= set(values):
            raise ValueError("fields are missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable ({error})") from error
    return {key: value for key, value in values.items() if key in _FIELDS}
