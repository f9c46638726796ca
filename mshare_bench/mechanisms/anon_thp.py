"""Private anonymous memory with transparent huge pages: nothing is shared, and no table is saved either.

For every huge page that a PMD entry maps the kernel sets a PTE page aside, so that it can split the huge page at any time
without having to allocate (mm/huge_memory.c, `pgtable_trans_huge_deposit`).
"""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import Backing, Extent, Mechanism, Recipe, Traits
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["AnonThp"]


@mechanism
@dataclass(frozen=True)
class AnonThp(Mechanism):
    """Anonymous memory, MADV_HUGEPAGE, a copy of the data per process."""

    name = "anon_thp"
    summary = "private anonymous huge pages: a copy of the data each, PTE pages set aside"
    color = "#44aa99"

    @property
    def traits(self) -> Traits:
        """A copy per process."""
        return Traits(data="private", advices=("vma_advise",))

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """Huge leaves for the aligned 2 MiB stretches, base pages before and after."""
        huge, size = geometry.pages[1], placed.region.size
        first = min(size, -placed.address % huge)
        last = max(first, (placed.address + size) // huge * huge - placed.address)
        stretches = ((0, first, page), (first, last, huge), (last, size, page))
        return tuple(
            Extent(start, end - start, leaf, leaf, deposit=leaf == huge)
            for start, end, leaf in stretches
            if end > start
        )

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Anonymous memory that asks for huge pages; the kernel's setting must allow that."""
        return Recipe(
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
            advice=(mmap.MADV_HUGEPAGE,),
            knobs={"transparent_hugepage": "madvise"},
        )

    def open(self, size: int, page: int) -> Backing:
        """Anonymous memory is made of nothing."""
        return Backing()
