"""Which address spaces there are: processes that were asked for, each address space once.

Kernel threads and zombies have none. Threads share one and show as one process; processes that share one (CLONE_VM) are
brought together with ``kcmp(2)``: the kernel's ``VmPTE`` belongs to the address space and would count once for each.
"""

import fnmatch
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.real.counters.procfs import keyed_kib, read_file, read_text
from mshare_bench.real.counters.vmpte import compare_mm, kcmp_unavailable

__all__ = ["AddressSpaces", "Candidate", "Selection", "cgroup_of", "read_candidate", "select"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A process that has an address space.

    Attributes
    ----------
    pid
        The process.
    folder
        Where its files are: ``/proc/PID``, or that of a thread where the first thread has ended before the others.
    comm
        Its name, as the kernel has it.
    vmpte_bytes
        Page-table bytes of its address space by the kernel's own count.
    """

    pid: int
    folder: str
    comm: str
    vmpte_bytes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The processes that were asked for.

    Attributes
    ----------
    candidates
        Those with an address space, by pid.
    without
        How many have none: kernel threads and zombies.
    refused
        How many may not even be looked at (``/proc`` mounted with ``hidepid``).
    """

    candidates: tuple[Candidate, ...]
    without: int = 0
    refused: int = 0


def read_candidate(pid: int) -> Candidate | None:
    """Look at one process; None when it has ended or has no address space (a kernel thread, a zombie)."""
    folder = f"/proc/{pid}"
    status = read_file(f"{folder}/status")
    if status is None:
        return None
    vmpte = keyed_kib(status, b"VmPTE")
    if vmpte is None and b"\nState:\tZ" in status and b"\nThreads:\t1\n" not in status:
        # The first thread has ended, others run on: they still have the address space.
        for thread in _threads(pid):
            folder = f"/proc/{pid}/task/{thread}"
            vmpte = keyed_kib(read_file(f"{folder}/status") or b"", b"VmPTE")
            if vmpte is not None:
                break
    if vmpte is None:
        return None
    name = status[status.find(b"Name:\t") + 6 : status.find(b"\n")]
    return Candidate(pid, folder, name.decode("utf-8", "replace"), vmpte)


def select(pids: Sequence[int | str] | None, cgroup: str | None) -> Selection:
    """Find the processes that were asked for; all of them when nothing was. The process that asks is left out of "all".

    Parameters
    ----------
    pids
        Pids, or patterns of process names such as ``postgres*``.
    cgroup
        A cgroup (its folder, its path, or a pattern of paths); those below it are meant as well.

    Raises
    ------
    ConfigError
        When both are given, or when one of the pids or patterns matches nothing.
    """
    if pids is not None and cgroup is not None:
        raise ConfigError(f"pid={','.join(map(str, pids))} cgroup={cgroup}: give one of the two")
    if pids is not None:
        return _by_pid(pids)
    accept: Callable[[int], bool] = functools.partial(_in_cgroup, pattern=_cgroup_pattern(cgroup)) if cgroup else _any
    candidates: list[Candidate] = []
    without = refused = 0
    for pid in _all_pids():
        if pid == os.getpid() or not accept(pid):
            continue
        try:
            candidate = read_candidate(pid)
        except CapabilityError:
            refused += 1
            continue
        if candidate is None:
            without += 1
        else:
            candidates.append(candidate)
    if cgroup is not None and not candidates:
        raise ConfigError(f"cgroup={cgroup}: no process with memory of its own is in such a cgroup")
    return Selection(tuple(candidates), without, refused)


class AddressSpaces:
    """Tells whether the address space of a process was met before, with ``kcmp(2)``.

    Only processes that were executed into the same addresses are compared: the address of the vdso is drawn anew at each
    exec, and those that share an address space share it.

    Attributes
    ----------
    lack
        Why processes can't be compared here at all; None when they can.
    unchecked
        How many could not be compared.
    """

    def __init__(self) -> None:
        self.lack = kcmp_unavailable()
        self.unchecked = 0
        # Pids by what they have to have in common, in the order of `compare_mm`.
        self._met: dict[bytes, list[int]] = {}

    def owner(self, pid: int, maps: bytes) -> int:
        """Give the first process met that has the same address space; `pid` itself when there is none.

        Parameters
        ----------
        pid
            The process.
        maps
            The text of its ``maps``.
        """
        if self.lack is not None:
            return pid
        at = maps.rfind(b"[vdso]")
        begin = maps.rfind(b"\n", 0, at) + 1
        met = self._met.setdefault(maps[begin : begin + 16] if at >= 0 else b"", [])
        try:
            while True:
                try:
                    return _insert(met, pid)
                except CellFailed:
                    # One of those compared has just ended: leave it out. If it was this one, reading it will say so.
                    met[:] = [one for one in met if _alive(one)]
                    if not _alive(pid):
                        return pid
        except CapabilityError:
            self.unchecked += 1
            return pid


def _insert(met: list[int], pid: int) -> int:
    low, high = 0, len(met)
    while low < high:
        middle = (low + high) // 2
        order = compare_mm(pid, met[middle])
        if order == 0:
            return met[middle]
        low, high = (low, middle) if order < 0 else (middle + 1, high)
    met.insert(low, pid)
    return pid


def _alive(pid: int) -> bool:
    try:
        return compare_mm(pid, pid) == 0
    except CellFailed:
        return False


def cgroup_of(folder: str) -> str:
    """Path of the cgroup that a process is charged to: the memory controller's, else that of version 2."""
    return _charged(_read(f"{folder}/cgroup"))


@functools.lru_cache(maxsize=4096)
def _charged(text: bytes) -> str:
    path = "/"
    for line in text.decode("utf-8", "replace").splitlines():
        _, controllers, where = line.split(":", 2)
        if "memory" in controllers.split(","):
            return where
        if not controllers:
            path = where
    return path


def _by_pid(pids: Sequence[int | str]) -> Selection:
    found: dict[int, Candidate] = {}
    for wanted in pids:
        text = str(wanted)
        if text.isdigit():
            pid = int(text)
            candidate = read_candidate(pid)
            if candidate is None:
                exists = read_file(f"/proc/{pid}/status") is not None
                why = "a kernel thread or a zombie, it has no page tables of its own" if exists else "no such process"
                raise ConfigError(f"pid={text}: {why}")
            found[candidate.pid] = candidate
            continue
        matches = [one for one in map(read_candidate, _all_pids()) if one and fnmatch.fnmatchcase(one.comm, text)]
        if not matches:
            raise ConfigError(f"pid={text}: no process has such a name")
        found.update((one.pid, one) for one in matches if one.pid != os.getpid())
    return Selection(tuple(found[pid] for pid in sorted(found)))


def _cgroup_pattern(text: str) -> str:
    # A folder below the mount point of a hierarchy is taken as the path within that hierarchy.
    best = ("", "/")
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith(("cgroup ", "cgroup2 ")):
            root, mount = before.split(" ")[3:5]
            if (text + "/").startswith(mount + "/") and len(mount) > len(best[0]):
                best = mount, root
    mount, root = best
    path = root.rstrip("/") + text[len(mount) :] if mount else text
    return path.rstrip("/") or "/"


def _in_cgroup(pid: int, pattern: str) -> bool:
    for line in _read(f"/proc/{pid}/cgroup").decode("utf-8", "replace").splitlines():
        path = line.split(":", 2)[2]
        wanted = pattern if pattern.startswith("/") else f"*/{pattern}"
        if pattern == "/" or fnmatch.fnmatchcase(path, wanted) or fnmatch.fnmatchcase(path, wanted + "/*"):
            return True
    return False


def _any(_pid: int) -> bool:
    return True


def _all_pids() -> list[int]:
    with os.scandir("/proc") as entries:
        return sorted(int(entry.name) for entry in entries if entry.name.isdigit())


def _threads(pid: int) -> Iterable[str]:
    try:
        with os.scandir(f"/proc/{pid}/task") as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        return read_file(path) or b""
    except CapabilityError:
        return b""
