"""What a process group asks of the machines: the values that placement works on.

A `Demand` is one unit that runs on one NUMA node; like units are one `Demand` with a `count`. A group that is larger than a
node is cut into units first (`split_to_fit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mshare_bench.domain.topology import Topology
from mshare_bench.errors import ConfigError, PlacementError

__all__ = ["Demand", "split_to_fit", "total_cpus", "with_exclusive_cpus"]

_AMOUNTS = (
    "cpus",
    "private_bytes",
    "table_bytes_per_process",
    "shared_bytes",
    "shared_table_bytes",
    "table_updates_per_s",
    "accesses_per_s",
)


@dataclass(frozen=True, slots=True)
class Demand:
    """What one unit of a process group needs and does.

    Attributes
    ----------
    group
        Name of the process group; several demands may share it (the parts of one group).
    processes
        Processes of one unit.
    cpus
        CPUs that they keep busy together; may be a fraction.
    private_bytes
        Data that no other unit maps, over all its processes.
    table_bytes_per_process
        Page tables that every process has of its own.
    domain
        The shared memory that the unit maps; None for none. All units with the same domain share one copy per machine.
    shared_bytes, shared_table_bytes
        Bytes of the domain's data, and of page tables that its sharers have in common (0 where every process has its own).
        The same for every unit of a domain.
    table_updates_per_s
        Changes of entries of the common tables, by this unit; each replica of the tables repeats them.
    accesses_per_s
        Reads that reach memory, walks and data together, by all processes of the unit.
    walk_share
        Share of these reads that are page walks.
    shared_share
        Share of these reads that go to the domain and its tables.
    traffic
        Pairs of another group's name and the bytes per second that the unit exchanges with it, spread over that group's units.
    count
        How many such units there are.
    """

    group: str
    processes: int = 1
    cpus: float = 1.0
    private_bytes: int = 0
    table_bytes_per_process: int = 0
    domain: str | None = None
    shared_bytes: int = 0
    shared_table_bytes: int = 0
    table_updates_per_s: float = 0.0
    accesses_per_s: float = 0.0
    walk_share: float = 0.0
    shared_share: float = 0.0
    traffic: tuple[tuple[str, float], ...] = ()
    count: int = 1

    def __post_init__(self) -> None:
        for key in ("processes", "count"):
            if getattr(self, key) < 1:
                raise ConfigError(f"groups.{self.group}.{key}={getattr(self, key)}: must be at least 1")
        for key in _AMOUNTS:
            if not getattr(self, key) >= 0:
                raise ConfigError(f"groups.{self.group}.{key}={getattr(self, key)}: must not be negative")
        for key in ("walk_share", "shared_share"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"groups.{self.group}.{key}={getattr(self, key)}: must be between 0 and 1")
        if self.domain is None and (self.shared_bytes or self.shared_table_bytes or self.shared_share):
            raise ConfigError(f"groups.{self.group}.domain=null: shared bytes or accesses need a domain")
        if any(volume < 0 for _, volume in self.traffic):
            raise ConfigError(f"groups.{self.group}.traffic={dict(self.traffic)}: must not be negative")

    @property
    def table_bytes(self) -> int:
        """Page tables of its own, over all processes of one unit."""
        return self.processes * self.table_bytes_per_process


def total_cpus(demands: Sequence[Demand]) -> float:
    """CPUs that all units keep busy together."""
    return sum(demand.count * demand.cpus for demand in demands)


def with_exclusive_cpus(demands: Sequence[Demand], topology: Topology) -> tuple[Demand, ...]:
    """Give every process a CPU of its own.

    Raises
    ------
    PlacementError
        When there are more processes than CPUs.
    """
    ranks = sum(demand.count * demand.processes for demand in demands)
    if ranks > topology.cpus:
        raise PlacementError(f"exclusive=true: {ranks} processes, but {topology.name} has {topology.cpus} CPUs")
    return tuple(replace(demand, cpus=float(demand.processes)) for demand in demands)


def split_to_fit(demands: Sequence[Demand], topology: Topology, overcommit: float = 1.0) -> tuple[Demand, ...]:
    """Cut every unit that keeps more CPUs busy than the smallest node has into like units that fit.

    Processes are not cut; what a unit has in all (CPUs, private data, accesses, updates, traffic) is shared out by processes.

    Raises
    ------
    PlacementError
        When a single process keeps more CPUs busy than a node has.
    """
    sizes = [len(node.cpus) for cohort in topology.cohorts for node in cohort.machine.nodes if node.cpus]
    room = min(sizes) * overcommit
    parts: list[Demand] = []
    for demand in demands:
        per_process = demand.cpus / demand.processes
        if per_process > room:
            raise PlacementError(
                f"groups.{demand.group}.cpus={per_process:g}: a process of it keeps more CPUs busy than a node of "
                f"{topology.name} has ({room:g})"
            )
        units = 1
        while -(-demand.processes // units) * per_process > room:
            units += 1
        small, larger = divmod(demand.processes, units)
        for processes, count in ((small + 1, larger), (small, units - larger)):
            if count:
                parts.append(_part(demand, processes, demand.count * count))
    return tuple(parts)


def _part(demand: Demand, processes: int, count: int) -> Demand:
    share = processes / demand.processes
    if share == 1:
        return replace(demand, count=count)
    return replace(
        demand,
        processes=processes,
        count=count,
        cpus=demand.cpus * share,
        private_bytes=round(demand.private_bytes * share),
        accesses_per_s=demand.accesses_per_s * share,
        table_updates_per_s=demand.table_updates_per_s * share,
        traffic=tuple((other, volume * share) for other, volume in demand.traffic),
    )
