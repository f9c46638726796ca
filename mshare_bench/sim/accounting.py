"""What a point costs in bytes and faults: tables, data, metadata, faults, by region. Exact integers, no time."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.union import union_spans
from mshare_bench.domain.workload import Cohort, Workload, placed_regions
from mshare_bench.mechanisms.contract import Mechanism, Traits
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sim.faults import minor_faults
from mshare_bench.sim.inherited import inherited_account
from mshare_bench.sim.result import Account, RegionAccount
from mshare_bench.sim.tables import Mapped, address_space, clip, cohorts, count_tables, links, mappers, union_of

__all__ = ["Account", "Setting", "account", "account_of", "mechanism_of", "private_bytes", "setting_of"]


@functools.lru_cache(maxsize=1024)
def _mechanism(name: str, options: tuple[tuple[str, object], ...]) -> Mechanism:
    return mechanisms()[name].of(dict(options))


def mechanism_of(point: Point) -> Mechanism:
    """The mechanism of a point, with its options."""
    return _mechanism(point.mechanism, tuple(sorted(point.options.items())))


@dataclass(frozen=True, slots=True)
class Setting:
    """A point made ready to be counted.

    Attributes
    ----------
    workload
        As it runs: with all writes where the mechanism writes everything, slices written out where they cross extents.
    mapped
        Every region at its address with its extents.
    populated
        Whether the data is there before anybody touches it.
    whole
        Whether that is all of it, and not just what will be touched.
    """

    traits: Traits
    workload: Workload
    mapped: tuple[Mapped, ...]
    populated: bool
    whole: bool


def setting_of(point: Point, geometry: Geometry = X86_64) -> Setting:
    """Make a point ready to be counted.

    Raises
    ------
    ConfigError
        When the mechanism can't map a region of the workload as asked.
    """
    mechanism = mechanism_of(point)
    traits, workload = mechanism.traits, point.workload
    mapped = []
    for placed in placed_regions(workload, point.offset, geometry):
        mechanism.check(placed, point.page)
        mapped.append(Mapped(placed, mechanism.extents(placed, point.page, geometry)))
    regions = tuple(mapped)
    workload = _unrolled(workload.writing_all() if traits.data == "private" else workload, regions)
    populated = point.populate == "controller" or traits.resident
    return Setting(traits, workload, regions, populated, point.whole or traits.resident)


def account(point: Point, geometry: Geometry = X86_64) -> Account:
    """Count everything that a point costs.

    Raises
    ------
    ConfigError
        When the mechanism can't map a region of the workload as asked.
    """
    return account_of(setting_of(point, geometry), geometry)


def account_of(setting: Setting, geometry: Geometry = X86_64) -> Account:
    """Count everything that a point costs which `setting_of` has made ready."""
    traits, workload, regions, populated = setting.traits, setting.workload, setting.mapped, setting.populated
    if traits.inherited in ("copied", "shared"):
        return inherited_account(workload, regions, geometry, traits)
    tables = count_tables(workload, regions, geometry, traits)
    faults = minor_faults(workload, regions, geometry, traits, populated)
    linking: dict[str, int] = {}
    if traits.link:
        for cohort in cohorts(workload):
            for name, count in links(cohort, regions, geometry, traits.link):
                linking[name] = linking.get(name, 0) + count
    return Account(
        tuple(
            RegionAccount(
                name := one.placed.region.name,
                one.placed.region.size * one.placed.region.instances,
                mappers(workload, name),
                tables[name],
                _data_bytes(workload, one, geometry, traits, setting.whole),
                traits.metadata_per_page * _touched_pages(workload, name) if traits.metadata_per_page else 0,
                faults[name],
                linking.get(name, 0),
            )
            for one in regions
        ),
        geometry.page,
        traits,
        address_space(regions, traits.window),
    )


def _unrolled(workload: Workload, mapped: tuple[Mapped, ...]) -> Workload:
    """Write the processes of a sliced cohort out one by one where slices may cross from one extent into the next."""
    parted = {one.placed.region.name for one in mapped if len(one.extents) > 1}

    def crosses(cohort: Cohort) -> bool:
        return any(touch.stride and touch.region in parted for touch in cohort.touches)

    if not any(crosses(cohort) for cohort in cohorts(workload)):
        return workload
    groups = (
        replace(
            group,
            cohorts=tuple(
                part
                for cohort in group.cohorts
                for part in (
                    (
                        Cohort(1, tuple(touch.shifted(index) for touch in cohort.touches))
                        for index in range(cohort.processes)
                    )
                    if crosses(cohort)
                    else (cohort,)
                )
            ),
        )
        for group in workload.groups
    )
    return replace(workload, groups=tuple(groups))


def _touched_pages(workload: Workload, region: str, which: str = "touched") -> int:
    return sum(
        cohort.processes * getattr(touch, which).count
        for cohort in cohorts(workload)
        for touch in cohort.touches
        if touch.region == region
    )


def private_bytes(cohort: Cohort, one: Mapped, geometry: Geometry, traits: Traits) -> int:
    """Data of a region that the processes of a cohort have for themselves, over all of them, before anything is merged."""
    if traits.data == "shared":
        return 0
    private = 0
    # A private page exists once it is written; what is only read is the zero page, or the page cache's.
    for extent in one.extents:
        for touch in cohort.touches:
            if touch.region == one.placed.region.name:
                unit = extent.page // geometry.page
                own = clip(touch.written, extent, geometry).spans(one.origin(geometry), unit).count
                private += own * cohort.processes * extent.page
    return private


def _data_bytes(workload: Workload, one: Mapped, geometry: Geometry, traits: Traits, whole: bool) -> int:
    """The data: a whole region where it is there beforehand, what was touched otherwise; private copies on top."""
    region = one.placed.region
    private = sum(private_bytes(cohort, one, geometry, traits) for cohort in cohorts(workload))
    if traits.merged:
        copies = -(-mappers(workload, region.name) // traits.merged)
        distinct = union_spans(union_of(workload, region.name, "touched"), 0, 1).count
        fewest: int = np.minimum(private, distinct * copies * geometry.page)[()]
        return fewest
    if traits.data == "private":
        return private
    if whole:
        return region.size * region.instances + private
    shared = 0
    for extent in one.extents:
        held = extent.fill or extent.page
        sets = union_of(workload, region.name, "touched", extent, geometry)
        origin = one.origin(geometry) if extent.fill else 0
        shared += union_spans(sets, origin, held // geometry.page).count * held
    return shared * region.instances + private
