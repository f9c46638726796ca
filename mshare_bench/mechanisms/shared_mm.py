"""One address space for all: the upper bound of sharing that a stock kernel can show.

`kind=process` starts processes with `clone(CLONE_VM)`, pids of their own on one mm; `kind=thread` threads of one process. Tables
exist once, and what one of them has faulted in no other faults again.
"""

import dataclasses
import mmap
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import FAULT_AROUND, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["SharedMm"]


@mechanism
@dataclass(frozen=True)
class SharedMm(Mechanism):
    """A memfd mapped once into the one address space that all processes run on."""

    name = "shared_mm"
    summary = "processes or threads on one address space: one set of tables"
    color = "#56b4e9"

    kind: str = dataclasses.field(default="process", metadata={"choices": ("process", "thread")})

    @property
    def traits(self) -> Traits:
        """One address space."""
        return Traits(one_mm=True)

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """As shmem's."""
        return whole(placed, page, FAULT_AROUND)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Started with CLONE_VM, or as threads."""
        return Recipe(flags=mmap.MAP_SHARED, spawn="thread" if self.kind == "thread" else "clone_vm")
