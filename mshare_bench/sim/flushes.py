"""TLB flushes that a point's processes order while they touch, protect and unmap, and the interrupts that these take.

A process that takes a right or a page away from entries in use flushes them once per system call. On its own tables that
reaches the one CPU that it runs on: no interrupt. On one address space it reaches every CPU that runs one of its processes. A
change to an entry of a table that sharers link must reach all of them, by one of three designs (`Traits.flush`), once:
who comes after the first finds the protection as he wants it. Unmapping a window only drops the sharer's own link.

The k-th process runs on the k-th CPU, from the start again where there are more processes than CPUs. The rules are those of
`mshare_bench.sim.semantics`, and the two are held against one another.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mshare_bench.domain.geometry import X86_64, Geometry, Level
from mshare_bench.domain.many import each
from mshare_bench.domain.pages import PageSet
from mshare_bench.domain.workload import Cohort, Touch
from mshare_bench.mechanisms.contract import Extent, Traits
from mshare_bench.sim.accounting import Setting
from mshare_bench.sim.tables import Mapped, clip, cohorts

__all__ = ["Flushes", "flushes_of"]


@dataclass(frozen=True, slots=True)
class Flushes:
    """How many flushes were ordered, and how many other CPUs were interrupted; None where the number of CPUs is not known."""

    ordered: int = 0
    interrupts: int | None = 0

    def __add__(self, other: "Flushes") -> "Flushes":
        ordered = self.ordered + other.ordered
        if self.interrupts is None or other.interrupts is None:
            return Flushes(ordered, None)
        return Flushes(ordered, self.interrupts + other.interrupts)

    def times(self, number: int) -> "Flushes":
        """So many of the same."""
        return Flushes(self.ordered * number, None if self.interrupts is None else self.interrupts * number)


def flushes_of(setting: Setting, cpus: int | None, geometry: Geometry = X86_64) -> Flushes | None:
    """Count the flushes of a point, as `mshare_bench.sim.accounting.setting_of` prepares it.

    Parameters
    ----------
    cpus
        CPUs that the processes run on; None: nobody knows, and so how many are interrupted is not known either.

    Returns
    -------
    Flushes or None
        None for what is not counted: memory handed down by fork, and pages that were merged.
    """
    traits = setting.traits
    if traits.inherited is not None or traits.merged:
        return None
    total = Flushes()
    for one in setting.mapped:
        users = [
            (cohort, touch)
            for cohort in cohorts(setting.workload)
            for touch in cohort.touches
            if touch.region == one.placed.region.name
        ]
        for part in _region(one, users, traits, cpus, geometry):
            total += part
    return total


_Users = list[tuple[Cohort, Touch]]


def _region(one: Mapped, users: _Users, traits: Traits, cpus: int | None, geometry: Geometry) -> Iterator[Flushes]:
    users = [(cohort, touch) for cohort, touch in users if touch.touched.count]
    processes = sum(cohort.processes for cohort, _ in users)
    if not np.any(processes):
        return
    if traits.one_mm:
        # One process protects and unmaps for all.
        calls = 1 + any(_writable(touch, traits).count for _, touch in users)
        yield Flushes(calls, None if cpus is None else calls * (np.minimum(processes, cpus)[()] - 1))
        return
    yield Flushes(processes)  # each unmaps what is its own, if only a link
    if not traits.protectable:
        return
    own = [extent for extent in one.extents if not extent.shared]
    common = [extent for extent in one.extents if extent.shared]
    for cohort, touch in users:
        yield Flushes(cohort.processes * _lose_rights(touch, own, traits, geometry))
    if not traits.link:
        yield from _kernels_own(one, users, traits, geometry)
    elif any(_lose_rights(touch, common, traits, geometry) for _, touch in users):
        counts = tuple(cohort.processes for cohort, _ in users)
        if np.all(one.placed.region.instances == 1):
            yield _domain(sum(counts), traits.flush, cpus)
        else:
            yield each(_domains, counts, one.placed.region.instances, traits.flush, cpus)


def _writable(touch: Touch, traits: Traits) -> PageSet:
    """Pages that are mapped writable after the touch.

    Shared memory is mapped writable at the first read. A file system wants to hear of a write, and what is private is copied
    for it: there only what was written is writable.
    """
    return touch.touched if traits.data == "shared" and not traits.resident else touch.written


def _lose_rights(touch: Touch, extents: Sequence[Extent], traits: Traits, geometry: Geometry) -> bool:
    return any(clip(_writable(touch, traits), extent, geometry).count for extent in extents)


def _domains(counts: tuple[int, ...], instances: int, design: str, cpus: int | None) -> Flushes:
    """Flush an entry of every instance; so many processes of each cohort are spread over them."""
    total = Flushes()
    # A cohort whose processes do not go round evenly has one more on the first instances, as many as are left over.
    starts = sorted({0, *(count % instances for count in counts)})
    for start, stop in itertools.pairwise([*starts, instances]):
        sharers = sum((count - start - 1) // instances + 1 for count in counts)
        if sharers:
            total += _domain(sharers, design, cpus).times(stop - start)
    return total


def _domain(sharers: int, design: str, cpus: int | None) -> Flushes:
    """Flush an entry that so many processes share, by the first of them."""
    ordered = sharers if design == "list" else 1
    if cpus is None:
        return Flushes(ordered, None)
    reached = {
        "all": cpus - 1,
        "cpumask": np.minimum(sharers, cpus)[()] - 1,
        "list": sharers - -(-sharers // cpus),  # all but those on the CPU that orders
    }
    return Flushes(ordered, reached[design])


def _kernels_own(one: Mapped, users: _Users, traits: Traits, geometry: Geometry) -> Iterator[Flushes]:
    """PMD pages of hugetlb: who protects leaves them first, a flush per slot; the last process has them to itself."""
    span = geometry.span(Level.PMD) // geometry.page
    last_cohort, last_touch = users[-1]
    common = [extent for extent in one.extents if extent.shared]
    for cohort, touch in users:
        slots = sum(clip(touch.touched, extent, geometry).spans(one.origin(geometry), span).count for extent in common)
        yield Flushes(slots * (cohort.processes - (cohort is last_cohort)))
    own = [extent for extent in one.extents if not extent.shared]
    if _lose_rights(last_touch, common, traits, geometry) and not _lose_rights(last_touch, own, traits, geometry):
        yield Flushes(1)
