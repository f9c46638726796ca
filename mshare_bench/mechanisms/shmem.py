"""Plain shared memory: a memfd mapped MAP_SHARED. Every process builds its own tables: what all others are held against."""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import FAULT_AROUND, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Shmem"]


@mechanism
@dataclass(frozen=True)
class Shmem(Mechanism):
    """A memfd, MAP_SHARED, base pages."""

    name = "shmem"
    summary = "memfd, MAP_SHARED, base pages: every process builds its own tables"
    color = "#000000"

    @property
    def traits(self) -> Traits:
        """One copy of the data, tables per process."""
        return Traits()

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """One extent, with fault-around on reads of present data."""
        return whole(placed, page, FAULT_AROUND)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """A shared mapping of the memfd."""
        return Recipe(flags=mmap.MAP_SHARED)
