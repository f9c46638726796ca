"""A memory cgroup for the agents of a real cell, with a limit; the controller stays outside.

Should a cell need more than was computed, the OOM killer then takes an agent of that cell and nothing else of the
machine, and the group's own count of kills says so::

    with memory_cgroup(limit_bytes) as group:
        # the first agent writes "0" to group.procs; those that it forks are in the group as well
        ...
        if group.oom_kills(): ...

v2 is used where it has the memory controller, else v1. A v2 group may have processes or child groups with controllers,
not both, so the new group goes below the nearest ancestor that hands the memory controller down; in v1 it goes below the
group of this process. Nothing but that one new folder is changed. Limits:

* Which groups a user may make and fill depends on the delegation; that is found out by doing it. Where none can be made,
  the group is there with ``path=None`` and the ``reason``: the guard alone protects the machine then.
* Shared memory is charged to the group that touches it *first*: data that the controller populates is not in it.
* hugetlb pages are not charged to the memory controller (unless the host mounts cgroup2 with
  ``memory_hugetlb_accounting``).
* An mshare region's tables are charged to the group of its owner.
"""

import contextlib
import errno
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.real.counters.memcg import GroupMemory, group_memory, own_groups
from mshare_bench.real.counters.procfs import read_text, start_time

__all__ = ["MemoryGroup", "memory_cgroup", "remove_stale_groups"]

_NAME = re.compile(r"^mshare-bench-(\d+)-(\d+)-(\d+)-\d+$")
_SERIAL = itertools.count()
_REMOVE_S = 5.0


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """
    A memory cgroup, or the reason why there is none.

    Attributes
    ----------
    path : Path or None
        The group's folder; None where none could be made.
    version : int or None
        1 or 2.
    limit_bytes : int
        The limit that was asked for.
    reason : str or None
        Why there is no group.
    """

    path: Path | None
    version: int | None
    limit_bytes: int
    reason: str | None = None

    @property
    def procs(self) -> Path | None:
        """The file to which a process writes ``0`` to move itself into the group."""
        return None if self.path is None else self.path / "cgroup.procs"

    def memory(self) -> GroupMemory | None:
        """Read what the group is charged; None without a group."""
        return None if self.path is None else group_memory(self.path)

    def usage(self) -> int | None:
        """All bytes that the group is charged; None without a group."""
        reading = self.memory()
        return None if reading is None else reading.usage_bytes

    def oom_kills(self) -> int | None:
        """How many processes of the group the OOM killer has taken; None without a group or before Linux 4.13."""
        if self.path is None:
            return None
        text = read_text(self.path / ("memory.events" if self.version == 2 else "memory.oom_control")) or ""
        counts = dict(line.split() for line in text.splitlines())
        return int(counts["oom_kill"]) if "oom_kill" in counts else None


@contextlib.contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[MemoryGroup]:
    """
    Make a memory cgroup for the time of a ``with`` block.

    Parameters
    ----------
    limit_bytes : int
        What the group may be charged; no swap on top of it.

    Yields
    ------
    MemoryGroup
        The group; where this host allows none, one without a path and with the reason.

    Notes
    -----
    At the end, processes that are still in the group are killed (only those that were put there can be) and the group is
    removed. What a killed run left is removed at the next call, or by :func:`remove_stale_groups`.
    """
    remove_stale_groups()
    group = _make(limit_bytes)
    try:
        yield group
    finally:
        if group.path is not None:
            _remove(group.path)


def remove_stale_groups() -> list[Path]:
    """
    Remove the groups of owners that are dead, with the processes in them.

    Returns
    -------
    list of Path
        The groups that were removed.
    """
    removed = []
    for parent in own_groups("memory"):
        for folder in parent.glob("mshare-bench-*"):
            owner = _NAME.match(folder.name)
            # In another PID namespace the same number is another process: its groups are none of our business.
            if owner is None or int(owner[1]) != _pid_namespace() or start_time(int(owner[2])) == int(owner[3]):
                continue
            if _remove(folder):
                removed.append(folder)
    return removed


def _make(limit_bytes: int) -> MemoryGroup:
    groups = own_groups("memory")
    if not groups:
        return MemoryGroup(None, None, limit_bytes, "no cgroup hierarchy with a memory controller is mounted")
    version = 1 if (groups[0] / "memory.limit_in_bytes").exists() else 2
    # v1: below our own group. v2: below the nearest that hands the controller down, which our own one cannot.
    parents = groups[:1] if version == 1 else [group for group in groups if _hands_down(group)]
    reasons = [] if parents else [f"no cgroup above {groups[0]} hands the memory controller down"]
    for parent in parents:
        path = parent / f"mshare-bench-{_pid_namespace()}-{os.getpid()}-{start_time(os.getpid())}-{next(_SERIAL)}"
        try:
            path.mkdir()
        except OSError as error:
            reasons.append(f"cannot make a cgroup in {parent}: {error.strerror}")
            continue
        reason = _limit(path, version, limit_bytes) or _refuses_processes(path)
        if reason is None:
            return MemoryGroup(path, version, limit_bytes)
        reasons.append(reason)
        _remove(path)
    return MemoryGroup(None, None, limit_bytes, "; ".join(reasons))


def _hands_down(group: Path) -> bool:
    return "memory" in (read_text(group / "cgroup.subtree_control") or "").split()


def _limit(path: Path, version: int, limit_bytes: int) -> str | None:
    # The reason why the limit could not be set. Swap is shut off where the kernel counts it: paging is no measurement.
    main, swap = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if version == 1 else ("memory.max", "memory.swap.max")
    )
    try:
        (path / main).write_text(f"{limit_bytes}\n")
        if (path / swap).exists():
            (path / swap).write_text(f"{limit_bytes if version == 1 else 0}\n")
    except OSError as error:
        return f"cannot limit {path}: {error.strerror}"
    return None


def _refuses_processes(path: Path) -> str | None:
    # Making a group is one right, moving a process into it another (v2 asks for the common ancestor): a shell tries.
    attempt = subprocess.run(
        ["/bin/sh", "-c", 'echo 0 > "$1"', "sh", str(path / "cgroup.procs")],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return None if attempt.returncode == 0 else f"no process may enter {path}: {attempt.stderr.strip()}"


def _remove(path: Path) -> bool:
    # A group goes only when its last process has been reaped, which is a moment after the kill.
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return False
        else:
            return True
        for pid in (read_text(path / "cgroup.procs") or "").split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.005)


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
