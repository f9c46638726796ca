"""A file mapped MAP_PRIVATE, as programs map libraries: the page cache's pages until one is written, then a copy of one's own."""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import FAULT_AROUND, Backing, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.file import FILE_PATHS, cached_file
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["PrivateFile"]


@mechanism
@dataclass(frozen=True)
class PrivateFile(Mechanism):
    """A file that has no name, mapped privately."""

    name = "private_file"
    summary = "page cache of a file, MAP_PRIVATE: tables per process, a copy of what is written"
    color = "#b8a500"

    folder: str = ""

    @property
    def traits(self) -> Traits:
        """One copy until it is written."""
        return Traits(data="copy_on_write", resident=True, basis="conditioned", paths=FILE_PATHS)

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """One extent, with fault-around on reads."""
        return whole(placed, page, FAULT_AROUND)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """A private mapping of the file."""
        return Recipe(flags=mmap.MAP_PRIVATE)

    def open(self, size: int, page: int) -> Backing:
        """Make the file and write it page by page."""
        return cached_file(size, self.folder)
