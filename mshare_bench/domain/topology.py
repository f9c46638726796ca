"""Where things can run: machines, NUMA nodes, the distances between them and the network between machines.

Nodes carry the kernel's own ids, which may have gaps, and may lack CPUs (memory expanders) or memory. Machines that are alike
form a cohort and are counted, so that a cluster of 10,000 costs no more than a cluster of one.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from mshare_bench.domain.units import format_size
from mshare_bench.errors import ConfigError, PlacementError

__all__ = [
    "ASSUMED_LOCAL_NS",
    "Cache",
    "Machine",
    "MachineCohort",
    "Matrix",
    "Network",
    "Node",
    "Topology",
    "require_node",
    "require_symmetric",
]

ASSUMED_LOCAL_NS = 100.0
"""Latency of a local access in ns where a topology tells only distances; ratios between nodes do not depend on it."""

_LOCAL_DISTANCE = 10
# ACPI, System Locality Information Table: a node's distance to itself is 10, and 255 says that it can't be reached.
_UNREACHABLE = 255

Matrix = tuple[tuple[float | None, ...], ...]
"""A figure for every pair of nodes, row = where the CPU is, column = where the memory is; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache as one CPU sees it.

    Attributes
    ----------
    level, size
        1 to 4, and bytes.
    kind
        `data`, `instruction` or `unified`.
    shared_by
        How many logical CPUs share one of it.
    ways
        Associativity; None where unknown.
    """

    level: int
    size: int
    kind: str = "unified"
    shared_by: int = 1
    ways: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("data", "instruction", "unified"):
            raise ConfigError(f"caches.kind={self.kind}: must be data, instruction or unified")
        for key, value in (("level", self.level), ("size", self.size), ("shared_by", self.shared_by)):
            if value < 1:
                raise ConfigError(f"caches.{key}={value}: must be at least 1")


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node.

    Attributes
    ----------
    id
        The kernel's number of it.
    cpus
        The kernel's numbers of its CPUs; empty for a memory-only node.
    memory
        Bytes; 0 for a node that has CPUs only.
    socket
        Physical package of its CPUs; None for a memory-only node or where unknown.
    kind
        `dram`, `cxl` or `hbm`; None where unknown.
    """

    id: int
    cpus: tuple[int, ...]
    memory: int
    socket: int | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ConfigError(f"nodes.id={self.id}: must not be negative")
        if self.memory < 0:
            raise ConfigError(f"nodes.{self.id}.memory={self.memory}: must not be negative")
        if self.kind not in (None, "dram", "cxl", "hbm"):
            raise ConfigError(f"nodes.{self.id}.kind={self.kind}: must be dram, cxl or hbm")
        if any(cpu < 0 for cpu in self.cpus):
            raise ConfigError(f"nodes.{self.id}.cpus={min(self.cpus)}: must not be negative")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine.

    Attributes
    ----------
    name
        Names its kind, not the single machine: all machines of a cohort share it.
    nodes
        Ascending by id.
    distances
        As the firmware reports them (ACPI SLIT: 10 is local), a square in the order of `nodes`.
    latency_ns, bandwidth
        Idle latency of a load in ns and peak bytes per second, same shape; None where nobody measured.
    caches
        From the nearest to the farthest.
    asymmetric
        The way there may differ from the way back in `distances`; must be said, since most often it is a typing error.
    sources
        Pairs of a figure's name and where it comes from.

    Raises
    ------
    ConfigError
        For no node, no CPU, no memory, ids or CPUs that occur twice, or a matrix of the wrong shape or with impossible values.
    """

    name: str
    nodes: tuple[Node, ...]
    distances: tuple[tuple[int, ...], ...]
    latency_ns: Matrix | None = None
    bandwidth: Matrix | None = None
    caches: tuple[Cache, ...] = ()
    asymmetric: bool = False
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        key = f"topology.machines.{self.name}"
        ids = self.node_ids
        if not ids:
            raise ConfigError(f"{key}.nodes=[]: a machine has at least one node")
        if list(ids) != sorted(set(ids)):
            raise ConfigError(f"{key}.nodes={list(ids)}: ids must ascend and occur once")
        cpus = [cpu for node in self.nodes for cpu in node.cpus]
        if not cpus:
            raise ConfigError(f"{key}.nodes={list(ids)}: no node has a CPU")
        if len(cpus) != len(set(cpus)):
            twice = next(cpu for cpu in cpus if cpus.count(cpu) > 1)
            raise ConfigError(f"{key}.nodes.cpus={twice}: this CPU is in two nodes, or twice in one")
        if not self.memory:
            raise ConfigError(f"{key}.nodes.memory=0: no node has memory")
        _check_square(f"{key}.distances", self.distances, len(ids), least=1)
        for name, matrix in (("latency_ns", self.latency_ns), ("bandwidth", self.bandwidth)):
            if matrix is not None:
                _check_square(f"{key}.{name}", matrix, len(ids), least=None)
        if not self.asymmetric:
            require_symmetric(self)

    @property
    def node_ids(self) -> tuple[int, ...]:
        """The kernel's node numbers."""
        return tuple(node.id for node in self.nodes)

    @property
    def cpus(self) -> int:
        """Number of logical CPUs."""
        return sum(len(node.cpus) for node in self.nodes)

    @property
    def memory(self) -> int:
        """Bytes on all nodes."""
        return sum(node.memory for node in self.nodes)

    @property
    def sockets(self) -> int:
        """Number of packages that the nodes name; 1 where none is named."""
        return len({node.socket for node in self.nodes if node.socket is not None}) or 1

    def index(self, node_id: int) -> int:
        """Position of a node in `nodes` and in the matrices; see `require_node` for what it raises."""
        return self.nodes.index(require_node(self, node_id))

    def latencies(self) -> tuple[tuple[float, ...], ...]:
        """Latency in ns for every pair of nodes, gaps filled.

        Where no latency was given it is the local one times distance / 10, and where no local one was given either,
        `ASSUMED_LOCAL_NS`. A row's local latency is the one to its own memory; for a node without memory, the smallest given.
        """
        rows = []
        for row, distances in enumerate(self.distances):
            given = self.latency_ns[row] if self.latency_ns else (None,) * len(distances)
            known = [value for value in given if value is not None]
            own = given[row]
            local = own if own is not None else min(known, default=ASSUMED_LOCAL_NS)
            rows.append(
                tuple(
                    value if value is not None else local * distance / _LOCAL_DISTANCE
                    for value, distance in zip(given, distances, strict=True)
                )
            )
        return tuple(rows)

    def nearest(self, node_id: int) -> tuple[int, ...]:
        """Ids of the nodes that have memory, nearest first: the order in which the kernel falls back when one is full."""
        row = self.distances[self.index(node_id)]
        order = sorted(range(len(self.nodes)), key=lambda i: (self.nodes[i].id != node_id, row[i], self.nodes[i].id))
        return tuple(self.nodes[i].id for i in order if self.nodes[i].memory and row[i] < _UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Network:
    """What is between the machines of a topology, every pair alike.

    Attributes
    ----------
    bandwidth
        Bytes per second of one machine's link.
    latency_ns
        One way.
    source
        Where the figures come from.
    """

    bandwidth: float
    latency_ns: int
    source: str = ""

    def __post_init__(self) -> None:
        if self.bandwidth <= 0:
            raise ConfigError(f"topology.network.bandwidth={self.bandwidth}: must be positive")
        if self.latency_ns < 0:
            raise ConfigError(f"topology.network.latency={self.latency_ns}: must not be negative")


@dataclass(frozen=True, slots=True)
class MachineCohort:
    """So many machines that are alike."""

    machine: Machine
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"topology.machines.{self.machine.name}.count={self.count}: must be at least 1")


@dataclass(frozen=True, slots=True)
class Topology:
    """Machines and what connects them.

    Machines are numbered from 0, cohort after cohort.

    Raises
    ------
    ConfigError
        Without a machine, with two cohorts of the same name, or with several machines and no network.
    """

    name: str
    cohorts: tuple[MachineCohort, ...]
    network: Network | None = None

    def __post_init__(self) -> None:
        names = [cohort.machine.name for cohort in self.cohorts]
        if not names:
            raise ConfigError(f"topology.machines={{}}: topology {self.name} has no machine")
        if len(names) != len(set(names)):
            raise ConfigError(f"topology.machines={names}: a name occurs twice")
        if self.machines > 1 and self.network is None:
            raise ConfigError(f"topology.network=null: topology {self.name} has {self.machines} machines")

    @property
    def machines(self) -> int:
        """Number of machines."""
        return sum(cohort.count for cohort in self.cohorts)

    @property
    def nodes(self) -> int:
        """Number of NUMA nodes on all machines."""
        return sum(cohort.count * len(cohort.machine.nodes) for cohort in self.cohorts)

    @property
    def cpus(self) -> int:
        """Number of logical CPUs on all machines."""
        return sum(cohort.count * cohort.machine.cpus for cohort in self.cohorts)

    @property
    def memory(self) -> int:
        """Bytes on all machines."""
        return sum(cohort.count * cohort.machine.memory for cohort in self.cohorts)

    def machine(self, number: int = 0) -> Machine:
        """Look up a machine by its number.

        Raises
        ------
        PlacementError
            When there is none of that number.
        """
        if not 0 <= number < self.machines:
            raise PlacementError(f"machine={number}: topology {self.name} has machines 0 to {self.machines - 1}")
        ends = list(accumulate(cohort.count for cohort in self.cohorts))
        return self.cohorts[bisect_right(ends, number)].machine

    def describe(self) -> str:
        """One line for people."""
        parts = [
            f"{cohort.count} x {cohort.machine.name} ({len(cohort.machine.nodes)} nodes, {cohort.machine.cpus} CPUs, "
            f"{format_size(cohort.machine.memory)})"
            for cohort in self.cohorts
        ]
        return f"{self.name}: {', '.join(parts)}"


def require_node(machine: Machine, node_id: int, *, cpus: bool = False, memory: bool = False) -> Node:
    """Look up a node by its id, and that it has CPUs or memory where these are needed.

    Raises
    ------
    PlacementError
        When it does not exist or lacks what is needed.
    """
    node = next((node for node in machine.nodes if node.id == node_id), None)
    if node is None:
        have = ", ".join(map(str, machine.node_ids))
        raise PlacementError(f"node={node_id}: {machine.name} has the nodes {have}")
    if cpus and not node.cpus:
        raise PlacementError(f"node={node_id}: this node of {machine.name} has no CPU")
    if memory and not node.memory:
        raise PlacementError(f"node={node_id}: this node of {machine.name} has no memory")
    return node


def require_symmetric(machine: Machine) -> None:
    """Check that every way back is as long as the way there.

    Raises
    ------
    ConfigError
        Naming the first pair of nodes for which it is not.
    """
    rows = machine.distances
    for i in range(len(rows)):
        for j in range(i):
            if rows[i][j] != rows[j][i]:
                a, b = machine.nodes[j].id, machine.nodes[i].id
                raise ConfigError(
                    f"topology.machines.{machine.name}.distances: {rows[j][i]} from node {a} to {b}, but {rows[i][j]} back: "
                    "must be symmetric (or say asymmetric: true)"
                )


def _check_square(key: str, rows: tuple[tuple[float | None, ...], ...], size: int, least: float | None) -> None:
    if len(rows) != size or any(len(row) != size for row in rows):
        shape = "x".join(map(str, (len(rows), len(rows[0]) if rows else 0)))
        raise ConfigError(f"{key}={shape}: must be {size}x{size}, a row and a column per node")
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if value is not None and (value <= 0 or (least is not None and value < least)):
                raise ConfigError(f"{key}[{i}][{j}]={value}: must be positive")
