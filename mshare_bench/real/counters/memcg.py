"""What a memory cgroup is charged, in version 1 and version 2 of cgroups.

Page tables, kernel stacks and slabs are charged to the cgroup of the process that caused them. Limits:

* v2 ``memory.stat`` has ``pagetables`` and ``sec_pagetables``: page-table counters. v1 has only
  ``memory.kmem.usage_in_bytes``, which also holds VMAs, inodes and other slabs: a cross-check, not a page-table counter.
* Charges are made in batches per CPU, so a reading may differ from the truth by a few dozen pages per CPU.
* What is charged stays charged to the first toucher's group: a page-cache or shmem page that another group uses costs it
  nothing.
* Tables of an mshare region are charged to the group of the region's owner.
* A hybrid host mounts both versions and has the memory controller in one of them only: both are probed.

A group is a folder; :func:`own_groups` gives this process's own one and its ancestors, so no group is created here
(:mod:`mshare_bench.real.cgroups` does that).
"""

from dataclasses import dataclass
from pathlib import Path

from mshare_bench.real.counters.procfs import read_int, read_text
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["GroupMemory", "group_memory", "memory_headroom", "own_groups"]

# v1's way to say "no limit" is the largest multiple of the page size in a signed 64-bit number.
_V1_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """
    One reading of a memory cgroup.

    Attributes
    ----------
    version : int
        1 or 2.
    usage_bytes : int or None
        All that is charged: data, tables, kernel memory.
    kernel_bytes : int or None
        Kernel memory (tables, stacks, slabs).
    page_table_bytes, secondary_table_bytes : int or None
        ``pagetables`` and ``sec_pagetables``; None with v1, which cannot tell.
    """

    version: int
    usage_bytes: int | None
    kernel_bytes: int | None
    page_table_bytes: int | None
    secondary_table_bytes: int | None


def own_groups(controller: str = "memory", pid: int | str = "self") -> list[Path]:
    """
    Find the cgroup of a process for one controller, and that group's ancestors.

    Parameters
    ----------
    controller : str
        ``memory``, ``pids``, ``cpu``, ...
    pid : int or "self"
        The process.

    Returns
    -------
    list of Path
        Folders from the innermost group to the top of the mounted tree; empty where no hierarchy that this process sees
        has the controller.
    """
    membership = read_text(f"/proc/{pid}/cgroup") or ""
    v2_path = None
    for line in membership.splitlines():
        number, names, path = line.split(":", 2)
        if controller in names.split(","):
            return _lineage(path, f"cgroup {controller}")
        if number == "0":
            v2_path = path
    if v2_path is None:
        return []
    groups = _lineage(v2_path, "cgroup2")
    available = read_text(groups[-1] / "cgroup.controllers") if groups else None
    return groups if available is not None and controller in available.split() else []


def group_memory(group: Path) -> GroupMemory | None:
    """
    Read what a memory cgroup is charged.

    Returns
    -------
    GroupMemory or None
        None when `group` is gone or has no memory controller.
    """
    usage = read_int(group / "memory.usage_in_bytes")
    if usage is not None:
        return GroupMemory(1, usage, read_int(group / "memory.kmem.usage_in_bytes"), None, None)
    text = read_text(group / "memory.stat")
    if text is None:
        return None
    stat = dict(line.split() for line in text.splitlines())
    return GroupMemory(
        2,
        read_int(group / "memory.current"),
        *(int(stat[key]) if key in stat else None for key in ("kernel", "pagetables", "sec_pagetables")),
    )


def memory_headroom() -> tuple[int, Path] | None:
    """
    How much more memory the cgroups around this process allow.

    Page cache that could be dropped counts as free, as it does in ``MemAvailable``.

    Returns
    -------
    tuple of (int, Path), or None
        Bytes and the group that sets the limit; None where no limit is set.
    """
    rooms = []
    for group in own_groups("memory"):
        limit = read_int(group / "memory.limit_in_bytes")
        if limit is None:
            limit = read_int(group / "memory.max")  # "max", no limit, is no number
        if limit is None or limit >= _V1_UNLIMITED:
            continue
        reading = group_memory(group)
        if reading is not None and reading.usage_bytes is not None:
            rooms.append((max(limit - reading.usage_bytes + _droppable(group), 0), group))
    return min(rooms, default=None)


def _droppable(group: Path) -> int:
    text = read_text(group / "memory.stat") or ""
    stat = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
    # v1's plain figures leave out the groups below, to which usage is charged as well.
    return int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))


def _lineage(path: str, kind: str) -> list[Path]:
    # kind: "cgroup2", or "cgroup <controller>" for the v1 hierarchy that has this controller.
    wanted, _, controller = kind.partition(" ")
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind_here, _source, options = after.split(" ", 2)
        if kind_here != wanted or (controller and controller not in options.split(",")):
            continue
        _id, _parent, _device, root, mount, *_ = before.split(" ")
        # In a container the mount may start below the group that /proc/PID/cgroup names.
        if root != "/" and path.startswith(root):
            path = path[len(root) :]
        top = Path(mount)
        group = top / path.lstrip("/")
        if ".." in group.parts or not group.is_dir():
            group = top
        return [group, *(folder for folder in group.parents if folder == top or top in folder.parents)]
    return []


def _unavailable() -> str | None:
    groups = own_groups("memory")
    if not groups:
        return "no cgroup hierarchy with a memory controller is mounted"
    if group_memory(groups[0]) is None:
        return f"{groups[0]} has no memory counters (a v2 root group has none)"
    return None


def _own_kernel_bytes() -> int | None:
    groups = own_groups("memory")
    reading = group_memory(groups[0]) if groups else None
    return None if reading is None else reading.kernel_bytes


register(
    Counter(
        "memcg_kernel",
        "byte",
        "system",
        "kernel memory (tables, stacks, slabs) charged to this process's own memory cgroup",
        _unavailable,
        lambda _pids: _own_kernel_bytes(),
    )
)
