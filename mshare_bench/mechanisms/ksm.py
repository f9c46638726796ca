"""Kernel same-page merging: private anonymous memory with equal contents; frames merge, page tables stay.

Every page scanned has an rmap item of 64 bytes beside it, and a merged page serves at most `max_page_sharing` (256)
mappings before another copy is kept (mm/ksm.c). So KSM gives data back and never tables.
"""

import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import Backing, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["MAX_PAGE_SHARING", "RMAP_ITEM_BYTES", "Ksm"]

RMAP_ITEM_BYTES = 64
MAX_PAGE_SHARING = 256


@mechanism
@dataclass(frozen=True)
class Ksm(Mechanism):
    """Anonymous memory, MADV_MERGEABLE, the same contents in every process, scanned until all is merged."""

    name = "ksm"
    summary = "private memory with equal contents, merged: data once, tables per process"
    color = "#cc79a7"

    @property
    def traits(self) -> Traits:
        """A copy per process until merged, and 64 bytes beside each page."""
        return Traits(
            data="private",
            metadata_per_page=RMAP_ITEM_BYTES,
            merged=MAX_PAGE_SHARING,
            advices=("vma_advise", "ksm_advise"),
            paths=(
                ("fault_anonymous", "fault_ksm"),
                ("pte_protect_anonymous", "pte_protect_ksm"),
                ("pte_zap_anonymous", "pte_zap_ksm"),
            ),
        )

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """Base pages."""
        return whole(placed, page)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Anonymous memory that may be merged; huge pages are kept out, since KSM splits them first."""
        return Recipe(
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
            advice=(mmap.MADV_NOHUGEPAGE, mmap.MADV_MERGEABLE),
            knobs={"ksm_pages_to_scan": "20000", "ksm_sleep_millisecs": "1", "ksm_run": "1"},
            merge=True,
        )

    def open(self, size: int, page: int) -> Backing:
        """Anonymous memory is made of nothing."""
        return Backing()
