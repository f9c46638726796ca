"""What is mapped: the identity and the kind of a mapping's object, from one line of ``/proc/PID/maps``.

Two mappings show the same memory when they have the same device and inode. The kernel's internal mounts give away the
rest: shared anonymous memory, memfds and SysV segments are files of one unnamed tmpfs, hugetlb pages of one unnamed
hugetlbfs per page size. Their device numbers are found by making a file there and looking, which costs no memory.

SysV segments take the segment's id as inode, and ids start again in every IPC namespace: the namespace is part of
their identity. Files on overlay mounts have a device per mount; :mod:`mshare_bench.audit.frames` unites those.
"""

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.real.counters.procfs import read_text

__all__ = ["PRIVATE", "Filesystems", "Identity", "Kind", "Objects"]

#: Number of the object that stands for all private memory.
PRIVATE = 0


class Kind(enum.StrEnum):
    """What an object is made of, as the tables say it."""

    MEMFD = "memfd"
    SYSV = "sysv"
    ANONYMOUS = "anonymous"
    TMPFS = "tmpfs"
    FILE = "file"
    PRIVATE_FILE = "private_file"
    HUGETLB = "hugetlb"
    DEVICE = "device"
    MSHARE = "mshare"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Identity:
    """One object.

    Attributes
    ----------
    name
        For people: the path, or `memfd:name (inode 25)`.
    kind
        What it is made of.
    shared
        Whether it is mapped MAP_SHARED; a file that is mapped both ways is two objects.
    page_bytes
        Page size of hugetlb memory; 0 for everything else.
    """

    name: str
    kind: Kind
    shared: bool
    page_bytes: int = 0


class Filesystems:
    """File system types by device number, of every mount namespace that was asked for."""

    def __init__(self) -> None:
        self._types: dict[str, tuple[str, int]] = {}
        self._namespaces: set[int] = set()
        self._read("/proc/self/mountinfo")
        self.internal_tmpfs = _device_of_memfd(0)
        for size in _huge_page_sizes():
            device = _device_of_memfd(os.MFD_HUGETLB | (size.bit_length() - 1) << os.MFD_HUGE_SHIFT)
            if device is not None:
                self._types[device] = ("hugetlbfs", size)

    def type_of(self, device: str, pid: int) -> tuple[str, int]:
        """Type of the file system with that device number, and its page size where it is a hugetlbfs.

        `pid` is a process that maps a file of it: a mount of another namespace is looked up there. Empty when unknown.
        """
        if device not in self._types:
            try:
                namespace = Path(f"/proc/{pid}/ns/mnt").stat().st_ino
            except OSError:
                return "", 0
            if namespace not in self._namespaces:
                self._namespaces.add(namespace)
                self._read(f"/proc/{pid}/mountinfo")
        return self._types.get(device, ("", 0))

    def _read(self, path: str) -> None:
        # 25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=...: device third; type and options after the dash.
        for line in (read_text(path) or "").splitlines():
            before, _, after = line.partition(" - ")
            major, _, minor = before.split(" ", 3)[2].partition(":")
            kind, _, options = after.split(" ", 2)
            size = next((_size(item[9:]) for item in options.split(",") if item.startswith("pagesize=")), 0)
            self._types.setdefault(f"{int(major):02x}:{int(minor):02x}", (kind, size))


class Objects:
    """Numbers for the objects that are met, in the order in which they are; number 0 is all private memory."""

    def __init__(self, filesystems: Filesystems) -> None:
        self._filesystems = filesystems
        self._numbers: dict[tuple[str, int, bool, int], int] = {}
        self._identities = [Identity("(private memory)", Kind.PRIVATE, shared=False)]

    def __len__(self) -> int:
        return len(self._identities)

    def __getitem__(self, number: int) -> Identity:
        return self._identities[number]

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._identities)

    def number(self, device: str, inode: int, path: str, *, shared: bool, namespace: int, pid: int) -> int:
        """Give the number of the object of a mapping.

        Parameters
        ----------
        device, inode, path
            As ``/proc/PID/maps`` has them.
        shared
            Whether the mapping is MAP_SHARED.
        namespace
            The IPC namespace, for SysV segments.
        pid
            A process that has the mapping.
        """
        if inode == 0 and not path.startswith("anon_inode:"):
            return PRIVATE
        key = (device, inode, shared, namespace if path.startswith("/SYSV") else 0)
        number = self._numbers.get(key)
        if number is None:
            identity = self._identify(device, inode, path, shared, pid)
            number = PRIVATE if identity.kind is Kind.PRIVATE else len(self._identities)
            self._numbers[key] = number
            if number != PRIVATE:
                self._identities.append(identity)
        return number

    def _identify(self, device: str, inode: int, path: str, shared: bool, pid: int) -> Identity:
        filesystem, page_bytes = self._filesystems.type_of(device, pid)
        bare = path.removesuffix(" (deleted)")
        if filesystem == "hugetlbfs":
            name = bare.removeprefix("/") if bare.startswith(("/memfd:", "/SYSV", "/anon_hugepage")) else path
            return Identity(f"{name} (inode {inode})" if name != path else path, Kind.HUGETLB, shared, page_bytes)
        if device == self._filesystems.internal_tmpfs:
            return _internal(bare, inode, shared)
        if filesystem == "msharefs":
            return Identity(path, Kind.MSHARE, shared)
        if bare == "/dev/zero" and not shared:
            return Identity(path, Kind.PRIVATE, shared)
        if filesystem == "devtmpfs" or bare.startswith("anon_inode:") or (not filesystem and bare.startswith("/dev/")):
            return Identity(path, Kind.DEVICE, shared)
        if not shared:
            return Identity(path, Kind.PRIVATE_FILE, shared)
        return Identity(path, Kind.TMPFS if filesystem in ("tmpfs", "ramfs", "shm") else Kind.FILE, shared)


def _internal(bare: str, inode: int, shared: bool) -> Identity:
    if bare.startswith("/SYSV"):
        name, kind = f"SysV key 0x{bare[5:]} (id {inode})", Kind.SYSV
    elif bare.startswith("/memfd:"):
        name, kind = f"{bare[1:]} (inode {inode})", Kind.MEMFD
    elif bare.startswith("[anon_shmem:"):
        name, kind = f"shared anonymous {bare[12:-1]} (inode {inode})", Kind.ANONYMOUS
    elif bare == "/dev/zero":
        name, kind = f"shared anonymous (inode {inode})", Kind.ANONYMOUS
    else:
        # What drivers keep there: DRM buffers, for example.
        name, kind = f"{bare.removeprefix('/')} (inode {inode})", Kind.DEVICE
    return Identity(name, kind if shared else Kind.PRIVATE_FILE, shared)


def _device_of_memfd(flags: int) -> str | None:
    try:
        descriptor = os.memfd_create("", flags | os.MFD_CLOEXEC)
    except OSError:
        return None  # this kernel has no huge pages of that size
    try:
        device = os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)
    return f"{os.major(device):02x}:{os.minor(device):02x}"


def _huge_page_sizes() -> list[int]:
    return [int(one.name[10:-2]) * 1024 for one in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")]


def _size(text: str) -> int:
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]] if text[-1] in "KMG" else int(text)
