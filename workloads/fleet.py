"""A fleet of machines over a day: four kinds of tenants whose groups arrive and leave, each group with shared memory of its own.

With a topology (`experiment=fleet`) the day is simulated: groups are seated, machines fill and are emptied again. `processes` are
those of all tenants at their busiest hours, `region` is the memory that all groups share together. The mix is made up: databases
that stay, web servers by day, ranks by night, and many small services; sizes are common ones.
"""

from dataclasses import dataclass, replace

from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workload

__all__ = ["FLEET", "KINDS", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of tenant.

    Attributes
    ----------
    processes, cpus, private_bytes
        Of one group; the private memory is all its processes' together, with their page tables for it.
    shared_bytes
        Of one group, in the usual mix.
    groups
        At the busiest hour, of 11,728 processes in all.
    lifetime_hours, busiest_hour
        Mean life of a group, and when most of them run.
    """

    name: str
    processes: int
    cpus: float
    private_bytes: int
    shared_bytes: int
    groups: int
    lifetime_hours: float
    busiest_hour: float = 14.0


KINDS = (
    Kind("database", 500, 16.0, 8 * GIB, 64 * GIB, 12, 24.0),
    Kind("web", 64, 4.0, 8 * GIB, 2 * GIB, 60, 3.0),
    Kind("ranks", 96, 96.0, 96 * GIB, 64 * GIB, 3, 6.0, 22.0),
    Kind("small", 16, 1.0, 2 * GIB, GIB, 100, 1.0),
)


_PROCESSES = sum(kind.groups * kind.processes for kind in KINDS)


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    *large, small = KINDS
    counts = {kind.name: kind.groups * request.processes // _PROCESSES for kind in large}
    rest = request.processes - sum(counts[kind.name] * kind.processes for kind in large)
    counts[small.name] = -(-rest // small.processes)
    processes = {kind.name: counts[kind.name] * kind.processes for kind in large} | {small.name: rest}
    for kind in large:
        if not counts[kind.name]:  # too few processes for one of its groups: its memory goes to the small ones
            gone = request.regions.pop(kind.name)
            last = request.regions[small.name]
            request.regions[small.name] = replace(last, size=last.size + gone.size)
    found = []
    for kind in KINDS:
        groups = counts[kind.name]
        if not groups:
            continue
        pages = request.pages(kind.name) // groups
        if pages == 0:
            size = request.regions[kind.name].size
            raise ConfigError(f"region={size}: less than a page for each of {groups} groups of {kind.name}")
        region = replace(request.regions[kind.name], size=pages * request.page, instances=groups)
        request.regions[kind.name] = region
        cohort = Cohort(processes[kind.name], (request.touch(kind.name),))
        found.append(ProcessGroup(kind.name, kind.name, (cohort,)))
    return tuple(found)


FLEET = workload(
    WorkloadSpec(
        name="fleet",
        description="a fleet's tenants over a day: groups with shared memory arrive and leave",
        regions=tuple(Region(kind.name, kind.groups * kind.shared_bytes) for kind in KINDS),
        main="small",
        build=_groups,
        processes=_PROCESSES,
        simulated_only="workload=fleet: a day of a fleet is simulated only",
    )
)
