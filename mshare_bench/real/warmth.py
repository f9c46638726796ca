"""Whether the memory that a cell takes has been in use shortly before.

The host of a virtual machine backs memory that is touched for the first time slowly, and takes idle pages back after a while, so
the same cell takes twice as long *cold* as *warm*. What the host does cannot be seen from inside; what can is how much memory
cells took here before, and when. A small file beside the journal of knobs remembers that, until the machine starts again.
"""

import json
import os
import time
from pathlib import Path

from mshare_bench.real.knobs.journal import state_folder

__all__ = ["KEPT_SECONDS", "remember", "warmth"]

KEPT_SECONDS = 600.0
"""How long memory counts as warm after a cell has given it back."""

_FILE = "memory.json"


def warmth(need_bytes: int, folder: Path | None = None) -> str:
    """`warm` if a cell took as many bytes here within the last ten minutes, else `cold`."""
    taken, since = _last(folder or state_folder())
    return "warm" if taken >= need_bytes and since <= KEPT_SECONDS else "cold"


def remember(took_bytes: int, folder: Path | None = None) -> None:
    """Note that a cell took so much and has just ended; a larger one that is still warm stays the one to know of."""
    where = folder or state_folder()
    taken, since = _last(where)
    if taken > took_bytes and since <= KEPT_SECONDS:
        return
    where.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = where / f".{_FILE}.{os.getpid()}"
    temporary.write_text(
        json.dumps({"boot": _boot(), "bytes": took_bytes, "ended": time.clock_gettime(time.CLOCK_BOOTTIME)})
    )
    temporary.replace(where / _FILE)


def _last(where: Path) -> tuple[int, float]:
    """Bytes that were taken, and seconds since; (0, infinity) where nothing is known of this boot."""
    try:
        noted = json.loads((where / _FILE).read_text())
        taken, ended, boot = int(noted["bytes"]), float(noted["ended"]), noted["boot"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, float("inf")
    return (taken, time.clock_gettime(time.CLOCK_BOOTTIME) - ended) if boot == _boot() else (0, float("inf"))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
