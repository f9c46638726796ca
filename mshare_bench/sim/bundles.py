"""What of a workload is placed as one, and the part of a workload that runs in one place.

Where regions have instances (the memory of each of 20 virtual machines), the processes of an instance stay together; elsewhere
processes go one by one, or in equal handfuls where they are many.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mshare_bench.domain.workload import Cohort, ProcessGroup, Workload

__all__ = ["Bundle", "Run", "bundles_of", "part_of"]

_MOST = 512
"""Bundles of one group, unless the topology has more nodes."""

Run = tuple[int, int]
"""Processes of a group from the first number up to, without, the second."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Processes that stay together: pairs of a group and how many of it; `count` such bundles, `instances` of every region."""

    groups: tuple[tuple[str, int], ...]
    count: int
    instances: int = 0

    @property
    def processes(self) -> int:
        """Processes of one bundle."""
        return sum(processes for _, processes in self.groups)


def bundles_of(workload: Workload, nodes: int, single: bool = False) -> tuple[Bundle, ...]:
    """Cut a workload into bundles for so many nodes; `single` keeps processes apart however many there are."""
    together: dict[int, list[ProcessGroup]] = {}
    bundles: list[Bundle] = []
    for group in workload.groups:
        instances = max(workload.region(touch.region).instances for one in group.cohorts for touch in one.touches)
        if instances > 1:
            together.setdefault(instances, []).append(group)
            continue
        size = 1 if single else -(-group.processes // max(_MOST, nodes))
        whole, rest = divmod(group.processes, size)
        for processes, count in ((size, whole), (rest, 1)):
            if processes and count:
                bundles.append(Bundle(((group.name, processes),), count))
    for instances, groups in together.items():
        edges = sorted({0, instances, *(group.processes % instances for group in groups)})
        for start, stop in itertools.pairwise(edges):
            held = [(one.name, one.processes // instances + (start < one.processes % instances)) for one in groups]
            bundles.append(Bundle(tuple(pair for pair in held if pair[1]), stop - start, 1))
    return tuple(bundle for bundle in bundles if bundle.groups)


def part_of(workload: Workload, runs: Mapping[str, Sequence[Run]], instances: int = 0) -> Workload:
    """Keep these processes of every group, and the regions that they touch.

    Parameters
    ----------
    runs
        By group; a group that is not named is left out.
    instances
        Of every region that has several; 0 leaves them.
    """
    groups = []
    for group in workload.groups:
        kept = tuple(cohort for run in runs.get(group.name, ()) for cohort in _cut(group.cohorts, *run))
        if kept:
            groups.append(replace(group, cohorts=_merged(kept)))
    touched = {touch.region for group in groups for cohort in group.cohorts for touch in cohort.touches}
    regions = tuple(
        replace(one, instances=instances) if instances and one.instances > 1 else one
        for one in workload.regions
        if one.name in touched
    )
    return replace(workload, regions=regions, groups=tuple(groups))


def _cut(cohorts: Sequence[Cohort], start: int, stop: int) -> list[Cohort]:
    parts, first = [], 0
    for cohort in cohorts:
        low, high = max(start - first, 0), min(stop - first, cohort.processes)
        if low < high:
            # Shifted slices stay slices: the next process is one further on.
            parts.append(Cohort(high - low, tuple(replace(t.shifted(low), stride=t.stride) for t in cohort.touches)))
        first += cohort.processes
    return parts


def _merged(cohorts: Sequence[Cohort]) -> tuple[Cohort, ...]:
    """Put neighbours that do the same together again."""
    merged: list[Cohort] = []
    for one in cohorts:
        if merged and merged[-1].touches == one.touches and not any(touch.stride for touch in one.touches):
            merged[-1] = Cohort(merged[-1].processes + one.processes, one.touches)
        else:
            merged.append(one)
    return tuple(merged)
