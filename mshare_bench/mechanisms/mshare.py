"""Shared page tables: processes share the tables themselves. Three proposed interfaces of Linux mshare, and a module of our own.

`interface=msharefs` (the posted series v2 and v3, Anthony Yznaga): a file of a file system of its own owns the tables; attaching
shares one upper entry, a 512 GiB window on x86-64, and everything below it. A later sharer needs no table of its own and
takes one fault per window, which links it.
`interface=flag` (MAP_SHARED_PT, 2022-23): PTE pages are shared, in units of 2 MiB, between mappings of one file at the same
address; each sharer keeps its own PMD and PUD pages and links one PTE page per fault. The tables hang in an address space of
the kernel's own, which has upper tables too.
`interface=ideal`: what has been promised and nobody has posted: windows as msharefs has them, and with `mapping=private`
copy-on-write inside what is shared. Its rows are hypothetical.
`interface=module` (`real/guest/module/`): a loadable module that shares PTE pages on stock kernels, for guests only
(`host=guest`): what can be measured today. Leaf tables exist once; every process has its own PMD and PUD pages and takes one
fault per 2 MiB, an ordinary minor fault. `sharing=off` is the same driver with tables of their own for everybody: the control.
With `start=fork` a parent maps and touches, and its children attach what they inherit by faults of their own.

`flush` says whose TLBs a change of a shared entry flushes (`sim/flushes.py` counts). `strict_permissions` says who may write; no
figure of a row depends on that, but `sim/semantics/` shows what it means and `docs/semantics.md` tells.
"""

import dataclasses
import mmap
from dataclasses import dataclass
from typing import Literal

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.units import format_size
from mshare_bench.domain.workload import SLOT, Placed
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.mechanisms._mshare_pte import UNIT, open_region
from mshare_bench.mechanisms._msharefs import Msharefs
from mshare_bench.mechanisms.contract import FAULT_AROUND, Backing, Extent, Mechanism, Recipe, Traits, memfd, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["MAP_SHARED_PT", "Mshare"]

MAP_SHARED_PT = 0x200000
"""The proposed mmap flag; a stock kernel accepts and ignores it, so only behaviour tells."""
_ALL = frozenset({Level.PTE, Level.PMD, Level.PUD})


@mechanism
@dataclass(frozen=True)
class Mshare(Mechanism):
    """Shared page tables, by one of the proposed interfaces."""

    name = "mshare"
    summary = "shared page tables (not in any released kernel)"
    color = "#d55e00"

    interface: str = dataclasses.field(
        default="msharefs", metadata={"choices": ("msharefs", "flag", "ideal", "module")}
    )
    mapping: str = dataclasses.field(default="shared", metadata={"choices": ("shared", "private")})
    sharing: str = dataclasses.field(default="on", metadata={"choices": ("on", "off")})
    start: str = dataclasses.field(default="attach", metadata={"choices": ("attach", "fork")})
    flush: Literal["all", "cpumask", "list"] = dataclasses.field(
        default="all", metadata={"choices": ("all", "cpumask", "list")}
    )
    strict_permissions: bool = True

    def __post_init__(self) -> None:
        if self.mapping == "private" and self.interface in ("msharefs", "module"):
            raise ConfigError(
                f"mechanism.mapping=private: {self.interface} refuses MAP_PRIVATE; mechanism.interface=ideal models it"
            )
        for key, value, usual in (("sharing", self.sharing, "on"), ("start", self.start, "attach")):
            if value != usual and self.interface != "module":
                raise ConfigError(f"mechanism.{key}={value}: only interface=module has it, not {self.interface}")

    @property
    def traits(self) -> Traits:
        """One linking fault per 512 GiB window, or per 2 MiB with the flag; those of the module are minor faults."""
        if self.interface == "module":
            forked = self.start == "fork"
            return Traits(
                protectable=False,
                inherited="refault" if forked else None,
                retried=forked and self.sharing == "on",
            )
        return Traits(
            data="copy_on_write" if self.mapping == "private" else "shared",
            link=2 << 20 if self.interface == "flag" else SLOT,
            host=self.interface == "flag" and self.mapping == "shared",
            window=0 if self.interface == "flag" else SLOT,
            flush=self.flush,
            protectable=self.interface != "msharefs",  # EINVAL on its windows
            basis="hypothetical" if self.interface == "ideal" else "exact",
        )

    def check(self, placed: Placed, page: int) -> None:
        """A region starts at a window's start (msharefs), or is PMD-aligned and a multiple of 2 MiB (flag, module)."""
        super().check(placed, page)
        if (placed.region.adjacent and self.interface != "module") or (
            self.interface == "flag" and self.mapping == "private"
        ):
            return  # regions behind one another share the window, and units that they only partly fill stay private
        if self.interface in ("msharefs", "ideal"):
            if placed.address % SLOT:
                offset = placed.address % SLOT
                raise ConfigError(f"offset={offset}: {self.interface} maps windows aligned to {format_size(SLOT)} only")
            return
        for key, value in (("offset", placed.address), ("region", placed.region.size)):
            if value % (2 << 20):
                shown = value % SLOT if key == "offset" else value
                raise ConfigError(
                    f"{key}={shown}: mechanism.interface={self.interface} shares whole, aligned 2 MiB units only"
                )

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """All levels are shared (msharefs), or the PTE pages (flag, module)."""
        if self.interface == "module":
            levels = frozenset({Level.PTE}) if self.sharing == "on" else frozenset[Level]()
            return (Extent(0, placed.region.size, page, page, levels, fill=UNIT),)
        if self.interface != "flag":
            return whole(placed, page, FAULT_AROUND, _ALL)
        if self.mapping == "private":
            return whole(placed, page, FAULT_AROUND)  # a private mapping is not shared
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
        """Attach the region's file, whole windows long; or map a memfd with the flag, where the kernel heeds it.

        Raises
        ------
        CapabilityError
            For the ideal, which exists nowhere; for the module where it is not loaded; for flushes that no kernel does.
        """
        if self.interface == "ideal":
            raise CapabilityError("mechanism.interface=ideal: no kernel has it; it is simulated only")
        if self.flush != "all":
            raise CapabilityError(
                f"mechanism.flush={self.flush}: what has been posted flushes every CPU; it is simulated only"
            )
        flags = mmap.MAP_PRIVATE if self.mapping == "private" else mmap.MAP_SHARED
        if self.interface == "flag":
            return Recipe(flags=flags | MAP_SHARED_PT, needs="MAP_SHARED_PT")
        needs = "mshare_pte" if self.interface == "module" else ""
        return Recipe(flags=flags, protectable=False, needs=needs, inherited=self.start == "fork")

    def open(self, size: int, page: int) -> Backing:
        """A region of msharefs or of the module, or a memfd."""
        if self.interface == "module":
            return open_region(size, self.sharing == "on")
        return Msharefs().create(size) if self.interface == "msharefs" else memfd(size, self.name)
