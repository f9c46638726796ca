"""What runs: regions of memory, groups of processes, and which pages each of them touches.

Processes that behave alike form a *cohort* and are counted, not repeated, so that every computation grows with the
distinct patterns and not with the processes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.pages import EMPTY, PageSet
from mshare_bench.domain.sent import sent_by_fields
from mshare_bench.domain.units import GIB, format_size
from mshare_bench.errors import ConfigError

if TYPE_CHECKING:
    from mshare_bench.domain.ports import ApplicationDriver

__all__ = [
    "SLOT",
    "Cohort",
    "Placed",
    "ProcessGroup",
    "Region",
    "Touch",
    "Workload",
    "WorkloadRequest",
    "WorkloadSpec",
    "placed_regions",
]

SLOT = 512 * GIB
"""Every region starts `offset` bytes after the start of a slot: a PGD entry of its own on x86-64."""
_ENTRY_BYTES = 8


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of memory that processes map.

    Attributes
    ----------
    name
        Unique within the workload.
    size
        Bytes; a multiple of the base page.
    instances
        How many distinct copies of it exist (the memory of each of 20 virtual machines): every cohort that maps the region maps
        one instance, `processes` being spread evenly over the instances.
    adjacent
        Placed right behind the region before it, in the same slot, as the dynamic linker places libraries.
    """

    name: str
    size: int
    instances: int = 1
    adjacent: bool = False


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Touch:
    """What one process of a cohort touches in a region, in pages from the region's start; `written` first, then `read`.

    Attributes
    ----------
    region
        Name of the region; it is mapped whole.
    touched
        All pages touched: the union of the two below, which are disjoint.
    written, read
        Pages written, and pages only read.
    stride
        The i-th process of the cohort touches all this shifted by `i * stride` pages: a slice per rank.
    """

    region: str
    touched: PageSet
    written: PageSet
    read: PageSet
    stride: int = 0

    @classmethod
    def of(cls, region: str, touched: PageSet, write_fraction: float = 0.0, stride: int = 0, seed: int = 0) -> "Touch":
        """Write that share of the touched pages, chosen at random, and read the others."""
        written, read = touched.split(write_fraction, seed)
        return cls(region, touched, written, read, stride)

    def shifted(self, index: int) -> "Touch":
        """What the `index`-th process of the cohort touches."""
        by = self.stride * index
        return Touch(self.region, self.touched.shift(by), self.written.shift(by), self.read.shift(by))


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Cohort:
    """So many processes that do the same."""

    processes: int
    touches: tuple[Touch, ...]


@sent_by_fields
@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Processes with one role, such as `backend` or `rank`; they are placed together.

    `life` says how the group comes to be: `together` (all attach before any touches) or `arriving` (one after the other: each
    attaches and touches while the earlier ones are there).
    """

    name: str
    role: str
    cohorts: tuple[Cohort, ...]
    life: str = "together"

    @property
    def processes(self) -> int:
        """Number of processes."""
        return sum(cohort.processes for cohort in self.cohorts)


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with all its numbers resolved: what a cell runs.

    Attributes
    ----------
    name
        Its name in the registry.
    regions, groups
        See there. Every region is touched by some group.
    main
        The region of which `access=` replaces the pattern.
    params
        The workload's own parameters that are not coordinates, such as the number of libraries.
    """

    name: str
    regions: tuple[Region, ...]
    groups: tuple[ProcessGroup, ...]
    main: str
    params: Mapping[str, Any] = field(default_factory=dict)
    # What `sim` finds out to compute it together with others: all mechanisms of a sweep share it.
    _make: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def processes(self) -> int:
        """Number of processes."""
        return sum(group.processes for group in self.groups)

    @property
    def region_bytes(self) -> int:
        """Bytes of all distinct regions."""
        return sum(region.size * region.instances for region in self.regions)

    def region(self, name: str) -> Region:
        """Look a region up by its name."""
        return next(region for region in self.regions if region.name == name)

    def writing_all(self) -> "Workload":
        """The same with every touched page written: private memory has no data before its process writes it."""
        groups = tuple(
            replace(
                group,
                cohorts=tuple(
                    Cohort(
                        one.processes, tuple(replace(touch, written=touch.touched, read=EMPTY) for touch in one.touches)
                    )
                    for one in group.cohorts
                ),
            )
            for group in self.groups
        )
        return replace(self, groups=groups)


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What a workload's module registers: its defaults and how to build it.

    Attributes
    ----------
    name
        As configurations say it.
    regions
        Default regions; `region=` scales them so that their sum is that size, a whole number of pages each.
    main
        Name of the region that `access=` is about.
    processes, access, write_fraction
        Defaults of these coordinates.
    params
        Defaults of its own parameters (`workload.<key>=`).
    build
        `build(request)` makes the groups; see `WorkloadRequest`.
    simulated_only
        Why it can't be run for real; empty where it can.
    driver
        Makes the driver of the real program, for a workload that is one; None for all others.
    mechanisms
        Those that the real program can be started with.
    beside
        Further mechanisms that are predicted beside them when none is named.
    required
        Parameters that have no default and must be given to run it.
    remark
        What a reader of the figures must know, in a sentence or two; shown with them.
    copies
        Of a real program: how often its data is in memory at the most, files that it is loaded from among it.
    """

    name: str
    regions: tuple[Region, ...]
    main: str
    build: Callable[["WorkloadRequest"], tuple[ProcessGroup, ...]]
    processes: int = 64
    access: AccessPattern = field(default_factory=AccessPattern)
    write_fraction: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    simulated_only: str = ""
    driver: "Callable[[], ApplicationDriver] | None" = None
    mechanisms: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    remark: str = ""
    copies: int = 1

    def resolve(
        self,
        *,
        processes: int | None = None,
        region: int | None = None,
        sizes: Mapping[str, int] | None = None,
        page: int = X86_64.page,
        access: AccessPattern | None = None,
        write_fraction: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Workload:
        """Fill in every number: what is None stays as the workload says.

        Raises
        ------
        ConfigError
            For a parameter or a region that the workload does not have, or a number out of range.
        """
        own = dict(self.params)
        for key, value in (params or {}).items():
            if key not in own:
                raise ConfigError(f"workload.{key}={value}: {self.name} has {', '.join(own) or 'no parameters'}")
            own[key] = value
        processes = self.processes if processes is None else processes
        if processes < 1:
            raise ConfigError(f"processes={processes}: must be at least 1")
        write_fraction = self.write_fraction if write_fraction is None else write_fraction
        if not 0 <= write_fraction <= 1:
            raise ConfigError(f"write_fraction={write_fraction}: must be between 0 and 1")
        regions = _sized(self.regions, self.name, region, tuple((sizes or {}).items()), page)
        request = WorkloadRequest(
            processes, {one.name: one for one in regions}, page, access or self.access, write_fraction, own
        )
        groups = self.build(request)
        built = tuple(
            request.regions.values()
        )  # the same tuple where `build` left them: what follows from it is shared
        return Workload(self.name, regions if built == regions else built, groups, self.main, own)


@dataclass(slots=True)
class WorkloadRequest:
    """What a workload's `build` gets: the numbers, and its regions already sized.

    `regions` may be changed by `build` (instances that depend on the number of processes); `page` is the base page in bytes.
    """

    processes: int
    regions: dict[str, Region]
    page: int
    access: AccessPattern
    write_fraction: float
    params: dict[str, Any]

    def pages(self, region: str) -> int:
        """Pages of a region."""
        return -(-self.regions[region].size // self.page)

    def touch(self, region: str, access: AccessPattern | None = None, write_fraction: float | None = None) -> Touch:
        """Touch a region by a pattern; without one, by the workload's own pattern and share of writes."""
        share = self.write_fraction if write_fraction is None else write_fraction
        return _touch(region, self.regions[region].size, self.page, access or self.access, share)

    def touch_all(self) -> tuple[Touch, ...]:
        """Touch every region by the workload's own pattern and share of writes."""
        return _touches(tuple(self.regions.values()), self.page, self.access, self.write_fraction)


# A touch does not depend on how many processes there are: workloads of a sweep over them share it. A thousand sizes of forty
# regions must fit, since they come round in the same order, and of a cache that is too small nothing is found again.
@functools.lru_cache(maxsize=1 << 17)
def _touch(region: str, size: int, page: int, pattern: AccessPattern, write_fraction: float) -> Touch:
    return Touch.of(region, pattern.pages(size, page), write_fraction, seed=pattern.seed)


@functools.lru_cache(maxsize=1 << 12)
def _touches(
    regions: tuple[Region, ...], page: int, pattern: AccessPattern, write_fraction: float
) -> tuple[Touch, ...]:
    return tuple(_touch(one.name, one.size, page, pattern, write_fraction) for one in regions)


@functools.lru_cache(maxsize=1 << 16)
def _sized(
    regions: tuple[Region, ...], workload: str, total: int | None, own: tuple[tuple[str, int], ...], page: int
) -> tuple[Region, ...]:
    sizes = dict(own)
    for name, size in sizes.items():
        if name not in {region.name for region in regions}:
            have = ", ".join(region.name for region in regions)
            raise ConfigError(f"workload.regions.{name}.size={size}: {workload} has the regions {have}")
    if total is not None and total % page:
        raise ConfigError(f"region={total}: not a multiple of the page, {page} bytes")
    if total is not None and total < page * len(regions):
        raise ConfigError(f"region={total}: {workload} has {len(regions)} regions, a page is {page} bytes")
    sized = list(regions)
    if total is not None:
        whole = sum(region.size for region in sized)
        unit, rest = _unit(sized, total, page), total
        for index, region in enumerate(sized[1:], 1):
            size = max(unit, region.size * total // whole // unit * unit)
            sized[index] = replace(region, size=size)
            rest -= size
        sized[0] = replace(sized[0], size=rest)  # what rounding leaves goes to the first
    for index, region in enumerate(sized):
        size = sizes.get(region.name, region.size)
        if size < page or size % page:
            raise ConfigError(f"workload.regions.{region.name}.size={size}: not a positive multiple of {page} bytes")
        if size != region.size:
            sized[index] = replace(region, size=size)
    return tuple(sized)


def _unit(regions: Sequence[Region], total: int, page: int) -> int:
    """Whole huge pages where the workload's own regions and the total are, and each gets one at least; else pages.

    So a mechanism that maps huge pages can have the regions, and they are the same for every mechanism.
    """
    huge, whole = page * (page // _ENTRY_BYTES), sum(region.size for region in regions)
    fits = all(region.size % huge == 0 and region.size * total // whole >= huge for region in regions)
    return huge if fits and total % huge == 0 else page


@dataclass(frozen=True, slots=True)
class Placed:
    """A region at its address; `previous` is the region right before it in the same slot, if any."""

    region: Region
    address: int
    previous: str | None = None


def placed_regions(workload: Workload, offset: int = 0, geometry: Geometry = X86_64) -> tuple[Placed, ...]:
    """Give every region its address, the same in every process.

    The first region of a slot starts `offset` bytes after the start of a `SLOT`, from the second slot on (programs sit in the
    first, stacks in the last); an `adjacent` region starts where the one before it ends.

    Raises
    ------
    ConfigError
        When the regions do not fit into the address space, or the offset is no multiple of the page.
    """
    if offset % geometry.page or not 0 <= offset < SLOT:
        raise ConfigError(f"offset={offset}: must be a multiple of {geometry.page} bytes, below {format_size(SLOT)}")
    placed: list[Placed] = []
    end, slot = 0, 1
    for region in workload.regions:
        if region.adjacent and placed:
            placed.append(Placed(region, end, placed[-1].region.name))
            end += region.size
        else:
            address = slot * SLOT + offset
            placed.append(Placed(region, address))
            end = address + region.size
        slot = -(-end // SLOT)
    if end > geometry.address_space - SLOT:
        raise ConfigError(
            f"region={format_size(workload.region_bytes)}: more than the address space of {geometry.name} holds "
            f"({format_size(geometry.address_space)})"
        )
    return tuple(placed)
