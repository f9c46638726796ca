"""Shared memory with transparent huge pages: a memfd under `shmem_enabled=advise` and MADV_HUGEPAGE.

A 2 MiB stretch is mapped by one PMD entry only where the mapping is congruent with the file: the same remainder of 2 MiB in the
address and in the file offset, and the whole stretch inside. The rest is mapped by base pages.
"""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import FAULT_AROUND, Extent, Mechanism, Recipe, Traits
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Thp"]


@mechanism
@dataclass(frozen=True)
class Thp(Mechanism):
    """A memfd with huge pages in the page cache."""

    name = "thp"
    summary = "memfd with transparent huge pages where address and file offset are congruent"
    color = "#009e73"

    @property
    def traits(self) -> Traits:
        """One copy of the data; tables per process, small ones."""
        return Traits(advices=("vma_advise",))

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """Huge leaves for the whole 2 MiB stretches of a congruent mapping; base pages elsewhere."""
        huge, size = geometry.pages[1], placed.region.size
        body = size // huge * huge if placed.address % huge == 0 else 0
        extents = [Extent(0, body, huge, huge)] if body else []
        if size > body:
            extents.append(Extent(body, size - body, page, FAULT_AROUND))
        return tuple(extents)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """A shared mapping that asks for huge pages."""
        return Recipe(flags=mmap.MAP_SHARED, advice=(mmap.MADV_HUGEPAGE,), knobs={"shmem_enabled": "advise"})
