"""The page cache of a real file, mapped MAP_SHARED.

What a mapping of a file costs depends on how the file got into the page cache: in large folios, some of which one PMD entry maps,
or in single pages. Here it is written page by page, which gives single pages; what the kernel shows (`FilePmdMapped`) is
measured, and the prediction holds under the condition that nothing is mapped by PMD entries.
"""

import mmap
import os
import tempfile
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import FAULT_AROUND, Backing, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["FILE_PATHS", "File", "cached_file"]

FILE_PATHS = (
    ("fault_read", "fault_read_file"),
    ("fault_write", "fault_write_file"),
    ("fault_copy", "fault_copy_file"),
    ("pte_zap", "pte_zap_file"),
)
"""Unit costs of mapped files: their pages come from a file system, shared memory's from memory itself."""


@mechanism
@dataclass(frozen=True)
class File(Mechanism):
    """A file that has no name, all of it in the page cache."""

    name = "file"
    summary = "page cache of a file, MAP_SHARED: tables per process"
    color = "#e69f00"

    folder: str = ""

    @property
    def traits(self) -> Traits:
        """One copy of the data, tables per process."""
        return Traits(resident=True, basis="conditioned", paths=FILE_PATHS)

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """One extent, with fault-around on reads."""
        return whole(placed, page, FAULT_AROUND)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """A shared mapping of the file."""
        return Recipe(flags=mmap.MAP_SHARED)

    def open(self, size: int, page: int) -> Backing:
        """Make the file and write it page by page."""
        return cached_file(size, self.folder)


def cached_file(size: int, folder: str = "") -> Backing:
    """Make a file without a name in a folder (the temporary one by default), written page by page.

    Raises
    ------
    OSError
        When the folder's file system has no nameless files, or no room.
    """
    fd = os.open(folder or tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    page = bytes([1]) * mmap.PAGESIZE
    try:
        os.posix_fallocate(fd, 0, size)
        for offset in range(0, size, mmap.PAGESIZE):
            os.pwrite(fd, page, offset)
    except OSError:
        os.close(fd)
        raise
    return Backing(fd=fd)
