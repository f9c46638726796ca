"""Writes an initramfs: files and folders as one `newc` archive, the format that every Linux kernel unpacks at boot.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux. A file that is named twice is written once; the
folders above a file are made on the way.
"""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

__all__ = ["Initramfs"]

_MAGIC = b"070701"


class Initramfs:
    """What goes into the archive, by its absolute path in the guest.

    Parameters
    ----------
    stream
        Where the archive is written to, entry by entry.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._known: set[PurePosixPath] = {PurePosixPath("/")}
        self._number = 0

    def __contains__(self, path: str) -> bool:
        return PurePosixPath(path) in self._known

    def folder(self, path: str) -> None:
        """A folder, and those above it."""
        for one in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]:
            if one not in self._known:
                self._entry(one, stat.S_IFDIR | 0o755, b"")

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.folder(str(PurePosixPath(path).parent))
        if path not in self:
            self._entry(PurePosixPath(path), stat.S_IFLNK | 0o777, os.fsencode(target))

    def data(self, path: str, content: bytes, executable: bool = False) -> None:
        """A file with this content."""
        self.folder(str(PurePosixPath(path).parent))
        if path not in self:
            self._entry(PurePosixPath(path), stat.S_IFREG | (0o755 if executable else 0o644), content)

    def file(self, source: Path, path: str | None = None) -> None:
        """A copy of a file, under its own path or another one, with its time of change: Python compares that with its cache.

        Raises
        ------
        OSError
            When it can't be read.
        """
        target = str(source) if path is None else path
        self.folder(str(PurePosixPath(target).parent))
        if target not in self:
            about = source.stat()
            mode = stat.S_IFREG | (0o755 if about.st_mode & 0o100 else 0o644)
            self._entry(PurePosixPath(target), mode, source.read_bytes(), int(about.st_mtime))

    def tree(self, source: Path, path: str) -> None:
        """A copy of a file or of all that is in a folder; symbolic links are followed.

        Raises
        ------
        OSError
            When something of it can't be read.
        """
        if not source.is_dir():
            self.file(source, path)
            return
        self.folder(path)
        for one in sorted(source.iterdir()):
            self.tree(one, f"{path.rstrip('/')}/{one.name}")

    def close(self) -> None:
        """Write the end mark; the stream stays open."""
        self._entry(PurePosixPath("TRAILER!!!"), 0, b"")

    def _entry(self, path: PurePosixPath, mode: int, content: bytes, changed: int = 0) -> None:
        self._known.add(path)
        self._number += 1
        name = os.fsencode(str(path).lstrip("/")) + b"\0"
        # inode, mode, uid, gid, links, time, size, device and special device (two numbers each), length of the name, checksum
        fields = (self._number, mode, 0, 0, 1, changed, len(content), 0, 0, 0, 0, len(name), 0)
        head = _MAGIC + b"".join(b"%08X" % (field & 0xFFFFFFFF) for field in fields) + name
        self._stream.write(head + b"\0" * (-len(head) % 4))
        self._stream.write(content)
        self._stream.write(b"\0" * (-len(content) % 4))
