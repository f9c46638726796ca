"""The user-space interface of msharefs (series v2 and v3, Anthony Yznaga), step by step as a kernel with it wants it.

A region is a file of a file system of its own. The process that creates it owns it and must outlive its users. What must never be
done in a window is not offered here: mremap, populating by flag, mlock, madvise(DONTNEED), MAP_PRIVATE, protection of a part.

The posted interface stands behind `Interface`, so that the system calls of the 2026 redesign can be put beside it.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms.contract import Backing

__all__ = ["CREATE_MAPPING", "UNMAP", "Interface", "Kernel", "Msharefs", "SharedRegion", "System"]

CREATE_MAPPING = 0x40287800
"""`MSHAREFS_CREATE_MAPPING`, `_IOW('x', 0, struct mshare_create)`: 40 bytes."""
UNMAP = 0x40107801
"""`MSHAREFS_UNMAP`, `_IOW('x', 1, struct mshare_unmap)`: 16 bytes. The number meant SET_SIZE in older versions."""

_CREATE = struct.Struct("=QQQIIi4x")
_MAP_FIXED_SHARED = mmap.MAP_SHARED | 0x10
_MNT_DETACH = 2
_T = TypeVar("_T")


class System(Protocol):
    """The system calls that are used, so that a recorded double can stand in for a kernel with mshare."""

    def mount(self, folder: str) -> None:
        """Mount an msharefs of its own there; raises OSError."""

    def detach(self, folder: str) -> None:
        """Unmount it; files that are open stay."""

    def read(self, path: str) -> bytes:
        """Read a small file."""

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open, raising OSError."""

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the size, raising OSError."""

    def ioctl(self, fd: int, request: int, argument: bytes) -> None:
        """Call, raising OSError."""


class Kernel:
    """The running kernel's system calls."""

    def mount(self, folder: str) -> None:
        """Mount an msharefs of its own there."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"msharefs", os.fsencode(folder), b"msharefs", 0, None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def detach(self, folder: str) -> None:
        """Unmount it lazily."""
        ctypes.CDLL(None).umount2(os.fsencode(folder), _MNT_DETACH)

    def read(self, path: str) -> bytes:
        """Read a small file."""
        return Path(path).read_bytes()

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open."""
        return os.open(path, flags, mode)

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the size."""
        os.ftruncate(fd, size)

    def ioctl(self, fd: int, request: int, argument: bytes) -> None:
        """Call."""
        fcntl.ioctl(fd, request, argument)


class SharedRegion(Backing):
    """A region whose tables are shared: the file to map, whole windows long, and the memfd that its data is in."""

    def __init__(self, fd: int, length: int, data_fd: int) -> None:
        super().__init__(fd=fd, map_length=length, data_fd=data_fd)


class Interface(Protocol):
    """A way to get a shared region from the kernel."""

    def create(self, size: int) -> SharedRegion:
        """Make a region of that many bytes; raises CapabilityError saying what is missing."""


class Msharefs:
    """The posted interface."""

    def __init__(self, system: System | None = None) -> None:
        self._system: System = system or Kernel()

    def create(self, size: int) -> SharedRegion:
        """Make a region: mount, create the file, size it once to whole windows, map a memfd into it.

        Nothing is left in any name space: the mount is of its own and is detached as soon as the file is open.

        Raises
        ------
        CapabilityError
            Naming the step that the kernel refused and what it would take.
        """
        system, folder = self._system, tempfile.mkdtemp(prefix="mshare-bench-")
        data_fd = fd = -1
        try:
            self._mount(folder)
            try:
                unit = self._unit(folder)
                fd = self._step(
                    "creating a file",
                    lambda: system.open(f"{folder}/region", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600),
                )
            finally:
                system.detach(folder)
            length = -(-size // unit) * unit
            self._step(f"sizing it to {length} bytes", lambda: system.ftruncate(fd, length))
            data_fd = os.memfd_create("mshare-bench-data", os.MFD_CLOEXEC)
            os.ftruncate(data_fd, size)
            argument = _CREATE.pack(0, size, 0, mmap.PROT_READ | mmap.PROT_WRITE, _MAP_FIXED_SHARED, data_fd)
            self._step("MSHAREFS_CREATE_MAPPING of a memfd", lambda: system.ioctl(fd, CREATE_MAPPING, argument))
        except BaseException:
            for one in (fd, data_fd):
                if one >= 0:
                    os.close(one)
            raise
        finally:
            Path(folder).rmdir()
        return SharedRegion(fd, length, data_fd)

    def _mount(self, folder: str) -> None:
        try:
            self._system.mount(folder)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise CapabilityError(
                    "mechanism.interface=msharefs: this kernel has no msharefs; it needs the mshare series (CONFIG_MSHARE)"
                ) from error
            if error.errno in (errno.EPERM, errno.EACCES):
                raise CapabilityError(
                    "mechanism.interface=msharefs: mounting msharefs takes root (CAP_SYS_ADMIN)"
                ) from error
            raise CapabilityError(f"mechanism.interface=msharefs: mounting msharefs: {error.strerror}") from error

    def _unit(self, folder: str) -> int:
        text = self._step("reading mshare_info", lambda: self._system.read(f"{folder}/mshare_info"))
        try:
            unit = int(text.split()[0])
        except (ValueError, IndexError) as error:
            raise CapabilityError(
                f"mechanism.interface=msharefs: mshare_info says {text!r}, no size of a window"
            ) from error
        if unit <= 0:
            raise CapabilityError(f"mechanism.interface=msharefs: mshare_info says {unit}, no size of a window")
        return unit

    @staticmethod
    def _step(what: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, "")
            raise CapabilityError(f"mechanism.interface=msharefs: {what}: {error.strerror}{hint}") from error


_HINTS = {
    errno.EINVAL: " (another version of the interface? sizes must be whole windows, set once; mappings shared and fixed)",
    errno.ENOTTY: " (this version of msharefs has no such call)",
    errno.ENOMEM: " (address space or memory: RLIMIT_AS must be above a window of 512 GiB)",
}
