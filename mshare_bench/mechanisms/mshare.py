"""Linux mshare: processes share the page tables themselves. Two user-space interfaces have been proposed.

`interface=msharefs` (the posted series v2 and v3, Anthony Yznaga): a file of a file system of its own owns the tables; attaching
shares one upper entry, a 512 GiB window on x86-64, and everything below it. A later sharer needs no table of its own and
takes one fault per window, which links it.
`interface=flag` (MAP_SHARED_PT, 2022-23): PTE pages are shared, in units of 2 MiB, between mappings of one file at the same
address; each sharer keeps its own PMD and PUD pages and links one PTE page per fault.
"""

import dataclasses
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.units import format_size
from mshare_bench.domain.workload import SLOT, Placed
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.mechanisms.contract import FAULT_AROUND, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Mshare"]

_ALL = frozenset({Level.PTE, Level.PMD, Level.PUD})


@mechanism
@dataclass(frozen=True)
class Mshare(Mechanism):
    """Shared page tables, by one of the proposed interfaces."""

    name = "mshare"
    summary = "shared page tables (not in any released kernel)"
    color = "#d55e00"

    interface: str = dataclasses.field(default="msharefs", metadata={"choices": ("msharefs", "flag")})

    @property
    def traits(self) -> Traits:
        """One linking fault per 512 GiB window, or per 2 MiB with the flag."""
        return Traits(link=SLOT if self.interface == "msharefs" else 2 << 20)

    def check(self, placed: Placed, page: int) -> None:
        """A region starts at a window's start (msharefs), or is PMD-aligned and a multiple of 2 MiB (flag)."""
        super().check(placed, page)
        if placed.region.adjacent:
            return  # regions behind one another share the window, and units that they only partly fill stay private
        if self.interface == "msharefs":
            if placed.address % SLOT:
                offset = placed.address % SLOT
                raise ConfigError(f"offset={offset}: msharefs maps windows aligned to {format_size(SLOT)} only")
            return
        for key, value in (("offset", placed.address), ("region", placed.region.size)):
            if value % (2 << 20):
                shown = value % SLOT if key == "offset" else value
                raise ConfigError(f"{key}={shown}: mechanism.interface=flag shares whole, aligned 2 MiB units only")

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """All levels are shared (msharefs), or the PTE pages (flag)."""
        if self.interface == "msharefs":
            return whole(placed, page, FAULT_AROUND, _ALL)
        size, unit = placed.region.size, geometry.span(Level.PTE)
        first = min(size, -placed.address % unit)
        last = max(first, (placed.address + size) // unit * unit - placed.address)
        stretches = ((0, first, False), (first, last, True), (last, size, False))
        return tuple(
            Extent(start, end - start, page, FAULT_AROUND, frozenset({Level.PTE}) if shared else frozenset())
            for start, end, shared in stretches
            if end > start
        )

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Not yet driven for real."""
        raise CapabilityError(
            f"mechanism.interface={self.interface}: this kernel shares no page tables; it needs the mshare series (CONFIG_MSHARE)"
        )
