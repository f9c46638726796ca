"""Preallocated huge pages (hugetlbfs): 2 MiB or 1 GiB pages, and the kernel's own sharing of PMD tables.

The kernel shares the PMD page of a whole, aligned 1 GiB slot between processes that map the same file range there with 2 MiB
pages, the same protection and the same VMA flags (Documentation/mm/hugetlbfs_reserv.rst and mm/hugetlb.c, `want_pmd_share`).
`mechanism.pmd_sharing=false` splits the VMA in every slot with MADV_DONTDUMP on one huge page, which ends the sharing.
"""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.units import MIB, format_size
from mshare_bench.domain.workload import SLOT, Placed
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import Backing, Extent, Mechanism, Recipe, Traits, memfd
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Hugetlb"]

_MFD_HUGETLB = 0x4
_MFD_HUGE_SHIFT = 26
_SLOT = 1 << 30
_MADV_DONTDUMP = 16


@mechanism
@dataclass(frozen=True)
class Hugetlb(Mechanism):
    """A hugetlb memfd, MAP_SHARED."""

    name = "hugetlb"
    summary = "preallocated huge pages, PMD tables shared by the kernel where it can"
    color = "#0072b2"

    pmd_sharing: bool = True

    @property
    def traits(self) -> Traits:
        """One copy of the data; tables per process but for the shared PMD pages."""
        paths = (
            ("fault_huge", "fault_hugetlb"),
            ("fault_huge_hole", "fault_hugetlb_hole"),
            ("huge_protect", "hugetlb_protect"),
            ("huge_zap", "hugetlb_zap"),
        )
        return Traits(paths=paths, split_every=0 if self.pmd_sharing else _SLOT)

    def page_sizes(self, geometry: Geometry) -> tuple[int, ...]:
        """2 MiB and 1 GiB on x86-64."""
        return geometry.pages[1:]

    def check(self, placed: Placed, page: int) -> None:
        """Whole huge pages, at addresses that are multiples of them."""
        super().check(placed, page)
        if placed.address % page:
            unit = format_size(page).replace(" ", "")
            raise ConfigError(f"offset={placed.address % SLOT}: not a multiple of the page, {unit}, that hugetlb maps")

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """Whole aligned 1 GiB slots share their PMD page; the rest does not."""
        size, slot = placed.region.size, geometry.span(Level.PMD)
        first = -(-placed.address // slot) * slot - placed.address
        last = (placed.address + size) // slot * slot - placed.address
        if page != geometry.pages[1] or not self.pmd_sharing or last <= first:
            return (Extent(0, size, page, page),)
        own, shared = Extent(0, first, page, page), Extent(first, last - first, page, page, frozenset({Level.PMD}))
        return tuple(extent for extent in (own, shared, Extent(last, size - last, page, page)) if extent.length)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """A shared mapping of the hugetlb memfd; VMAs split in every slot where sharing is not wanted."""
        splits: tuple[tuple[int, int, int], ...] = ()
        if not self.pmd_sharing and page == 2 * MIB:
            slots = range(-placed.address % _SLOT, placed.region.size - page + 1, _SLOT)
            splits = tuple((start, page, _MADV_DONTDUMP) for start in slots)
        return Recipe(flags=mmap.MAP_SHARED, advise_splits=splits, hugepages=page)

    def open(self, size: int, page: int) -> Backing:
        """A memfd of huge pages of that size."""
        return memfd(size, self.name, _MFD_HUGETLB | (page.bit_length() - 1) << _MFD_HUGE_SHIFT)
