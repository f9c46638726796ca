"""Inheritance by fork: the first process maps and touches everything, then forks the others.

`memory=private`: anonymous memory; its tables are copied at fork, a page is copied when it is written. With
`tables=shared` (COW-PTE, Chih-En Lin, 2023; not in any released kernel) PTE pages are shared until one is written through.
`accounting=kernel` keeps the child's counters and its references to pages meanwhile, which takes nearly the whole time of a copy.
`memory=shared`: a memfd; nothing is copied at fork and each child faults again (mm/memory.c, `vma_needs_copy`).
"""

import dataclasses
import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.mechanisms.contract import FAULT_AROUND, Backing, Extent, Mechanism, Recipe, Traits, memfd, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Inherit"]


@mechanism
@dataclass(frozen=True)
class Inherit(Mechanism):
    """Memory that children inherit."""

    name = "inherit"
    summary = "inherited by fork: private tables are copied, shared mappings fault again"
    color = "#882255"

    memory: str = dataclasses.field(default="private", metadata={"choices": ("private", "shared")})
    tables: str = dataclasses.field(default="copied", metadata={"choices": ("copied", "shared")})
    accounting: str = dataclasses.field(default="ideal", metadata={"choices": ("ideal", "kernel")})

    def __post_init__(self) -> None:
        if self.tables == "shared" and self.memory == "shared":
            raise ConfigError(
                "mechanism.tables=shared: only tables of mechanism.memory=private are copied, so only they can be shared"
            )

    @property
    def traits(self) -> Traits:
        """Refaults what is shared, copies what is private."""
        if self.memory == "shared":
            return Traits(inherited="refault")
        if self.tables == "shared":
            accounted = self.accounting == "kernel"
            return Traits(data="copy_on_write", inherited="shared", basis="hypothetical", accounted=accounted)
        return Traits(data="copy_on_write", inherited="copied")

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """Base pages; fault-around only for the memfd."""
        return whole(placed, page, FAULT_AROUND if self.memory == "shared" else None)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Mapped by the parent before it forks."""
        if self.tables == "shared":
            raise CapabilityError(
                "mechanism.tables=shared: no released kernel shares tables at fork; it needs the COW-PTE series"
            )
        if self.memory == "shared":
            return Recipe(flags=mmap.MAP_SHARED, inherited=True)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return Recipe(flags=flags, advice=(mmap.MADV_NOHUGEPAGE,), inherited=True)

    def open(self, size: int, page: int) -> Backing:
        """A memfd, or nothing."""
        return memfd(size, self.name) if self.memory == "shared" else Backing()
