"""Topology and demands as arrays: what the policies, the cost function and the optimum all compute with.

Nodes of all machines are numbered through; a machine's nodes are `start[m] : start[m + 1]`. Matrices exist once per kind of
machine. Like demands become one *class*, so that neither the optimum nor a policy sees a symmetry twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.topology import Machine, Topology
from mshare_bench.domain.units import format_size
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.demand import Demand, total_cpus

__all__ = ["Domain", "MachineKind", "Prices", "Problem", "make_problem"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prices:
    """What is weighed against what; the unit of cost is nanoseconds of stall per second of run.

    Attributes
    ----------
    memory_ns_per_byte
        Worth of one byte held, as ns of CPU time per second. Default: all memory of the topology is worth as much as all its
        CPUs (`make_problem` fills it in).
    replica_update_ns
        Cost of repeating one change of an entry in one replica of the tables. Default: 30 ns, the 66 cycles at 2.2 GHz that
        Mitosis (ASPLOS'20) measured for protect.
    message_bytes
        Cross-machine traffic pays the network's latency once per so many bytes.
    """

    memory_ns_per_byte: float | None = None
    replica_update_ns: float = 30.0
    message_bytes: int = 64 << 10


@dataclass(frozen=True, slots=True, eq=False)
class MachineKind:
    """A kind of machine as arrays, in the order of its nodes.

    `penalty[a, b]` is how many ns a load on node a from the memory of node b takes over the fastest load in the topology.
    `order[a]` lists nodes with memory, nearest to a first. `replicas` are the nodes that hold a copy of replicated tables.
    """

    machine: Machine
    cpus: Floats
    memory: Floats
    penalty: Floats
    order: tuple[tuple[int, ...], ...]
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A shared domain: bytes of its data and of its common tables."""

    name: str
    data: int
    tables: int


@dataclass(frozen=True)
class Problem:
    """All arrays.

    Attributes
    ----------
    demands
        As they were given.
    classes, members
        The demands after like ones were merged, and what each class was: pairs of a demand's position and units.
    class_of
        A class of each demand: all its classes are alike but for where they sit.
    kinds, kind_of
        Kinds of machines, and the kind of each machine.
    start
        First node of each machine, and the number of nodes at the end.
    cpu_room, memory_room
        Capacity of each node: CPUs times `overcommit`, and bytes.
    domain_of
        Index of each class's domain in `domains`; -1 for none.
    traffic
        (class, other class, bytes per second of one unit): other classes have one unit each.
    closed
        Nodes that may hold and run nothing: drained, or of a machine that is down.
    """

    topology: Topology
    demands: tuple[Demand, ...]
    classes: tuple[Demand, ...]
    members: tuple[tuple[tuple[int, int], ...], ...]
    class_of: tuple[int, ...]
    domains: tuple[Domain, ...]
    domain_of: tuple[int, ...]
    traffic: tuple[tuple[int, int, float], ...]
    kinds: tuple[MachineKind, ...]
    kind_of: tuple[int, ...]
    prices: Prices
    overcommit: float = 1.0
    start: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    closed: frozenset[int] = frozenset()

    @cached_property
    def cpu_room(self) -> Floats:
        """CPUs of every node, times `overcommit`; none where a node is closed or its machine has no memory left."""
        room = np.concatenate([self.kinds[k].cpus for k in self.kind_of]) * self.overcommit
        memory = np.add.reduceat(self.memory_room, self.start[:-1])[self.machine_of]
        room[sorted(self.closed)] = 0.0
        return np.where(memory > 0, room, 0.0)

    @cached_property
    def memory_room(self) -> Floats:
        """Bytes of every node; none where a node is closed."""
        room = np.concatenate([self.kinds[k].memory for k in self.kind_of])
        room[sorted(self.closed)] = 0.0
        return room

    @cached_property
    def machine_of(self) -> NDArray[np.int64]:
        """Machine of every node."""
        return np.repeat(np.arange(len(self.kind_of)), np.diff(self.start))

    @property
    def units(self) -> int:
        """Number of units in all."""
        return sum(one.count for one in self.classes)

    def node_id(self, node: int) -> int:
        """Give the kernel's id of a node."""
        machine = int(self.machine_of[node])
        return self.kinds[self.kind_of[machine]].machine.nodes[node - int(self.start[machine])].id

    def rates(self, index: int) -> tuple[float, float, float, float]:
        """Reads per second of one unit: of private data, of its own tables, of the domain's data, of its common tables."""
        one = self.classes[index]
        domain = self.domain_of[index]
        walks, data = one.accesses_per_s * one.walk_share, one.accesses_per_s * (1 - one.walk_share)
        common = walks * one.shared_share if domain >= 0 and self.domains[domain].tables else 0.0
        return data * (1 - one.shared_share), walks - common, data * one.shared_share, common

    def memory_price(self) -> float:
        """Worth of a byte in ns per second."""
        price = self.prices.memory_ns_per_byte
        return price if price is not None else self.topology.cpus * 1e9 / self.topology.memory

    def traffic_price(self) -> float:
        """Cost in ns of one byte between two machines."""
        network = self.topology.network
        return 1e9 / network.bandwidth + network.latency_ns / self.prices.message_bytes if network else 0.0


def make_problem(
    topology: Topology,
    demands: Sequence[Demand],
    *,
    overcommit: float = 1.0,
    prices: Prices | None = None,
    closed: Collection[tuple[int, int]] = (),
) -> Problem:
    """Check demands against a topology and make arrays of both.

    `closed` are pairs of machine and node id that may hold and run nothing.

    Raises
    ------
    ConfigError
        When demands contradict each other: two sizes of one domain, traffic with a group that does not exist.
    PlacementError
        When the demands can't fit whatever the placement; the message says what is missing.
    """
    if not demands:
        raise ConfigError("groups=[]: nothing to place")
    if overcommit <= 0:
        raise ConfigError(f"overcommit={overcommit}: must be positive")
    domains = _domains(demands)
    _check_traffic(demands)
    classes, members = _merge(demands)
    class_of = {number: c for c, parts in enumerate(members) for number, _ in parts}
    index = {domain.name: i for i, domain in enumerate(domains)}
    least = min(_fastest_load(cohort.machine) for cohort in topology.cohorts)
    kinds = tuple(_kind(cohort.machine, least) for cohort in topology.cohorts)
    kind_of = tuple(k for k, cohort in enumerate(topology.cohorts) for _ in range(cohort.count))
    sizes = [len(kinds[k].cpus) for k in kind_of]
    start = np.concatenate([[0], np.cumsum(sizes)])
    shut = frozenset(int(start[machine]) + topology.machine(machine).index(node) for machine, node in closed)
    problem = Problem(
        topology,
        tuple(demands),
        classes,
        members,
        tuple(class_of[number] for number in range(len(demands))),
        domains,
        tuple(index[one.domain] if one.domain is not None else -1 for one in classes),
        _traffic(demands, classes, members),
        kinds,
        kind_of,
        prices or Prices(),
        overcommit,
        start,
        shut,
    )
    _check_room(problem)
    return problem


def _domains(demands: Sequence[Demand]) -> tuple[Domain, ...]:
    found: dict[str, Domain] = {}
    for one in demands:
        if one.domain is not None:
            domain = Domain(one.domain, one.shared_bytes, one.shared_table_bytes)
            if found.setdefault(one.domain, domain) != domain:
                raise ConfigError(
                    f"groups.{one.group}.shared_bytes={one.shared_bytes}: domain {one.domain} has "
                    f"{found[one.domain].data} bytes and {found[one.domain].tables} bytes of tables elsewhere"
                )
    return tuple(found.values())


def _check_traffic(demands: Sequence[Demand]) -> None:
    known = {one.group for one in demands}
    for one in demands:
        for other, _ in one.traffic:
            if other not in known:
                raise ConfigError(f"groups.{one.group}.traffic={other}: there is no such group")


def _merge(demands: Sequence[Demand]) -> tuple[tuple[Demand, ...], tuple[tuple[tuple[int, int], ...], ...]]:
    """Merge like demands; one that others send to is taken apart into single units, so that every pair has one far end."""
    targets = {other for one in demands for other, _ in one.traffic}
    merged: dict[object, list[tuple[int, int]]] = {}
    for number, one in enumerate(demands):
        if one.group in targets:
            merged.update({(number, unit): [(number, 1)] for unit in range(one.count)})
        else:
            merged.setdefault(replace(one, group="", count=1), []).append((number, one.count))
    members = tuple(tuple(parts) for parts in merged.values())
    classes = tuple(replace(demands[parts[0][0]], count=sum(units for _, units in parts)) for parts in members)
    return classes, members


def _traffic(
    demands: Sequence[Demand], classes: tuple[Demand, ...], members: tuple[tuple[tuple[int, int], ...], ...]
) -> tuple[tuple[int, int, float], ...]:
    ends: dict[str, list[int]] = {}
    for c, parts in enumerate(members):
        for number, _ in parts:
            ends.setdefault(demands[number].group, []).append(c)
    return tuple(
        (c, far, volume / len(ends[other]))
        for c, one in enumerate(classes)
        for other, volume in one.traffic
        for far in ends[other]
        if far != c and volume
    )


def _fastest_load(machine: Machine) -> float:
    rows = zip(machine.nodes, machine.latencies(), strict=True)
    return min(
        latency
        for source, row in rows
        if source.cpus
        for target, latency in zip(machine.nodes, row, strict=True)
        if target.memory
    )


def _kind(machine: Machine, least: float) -> MachineKind:
    memory = np.array([float(node.memory) for node in machine.nodes])
    penalty = np.array(machine.latencies()) - least
    order = tuple(tuple(machine.index(i) for i in machine.nearest(node.id)) for node in machine.nodes)
    both = tuple(i for i, node in enumerate(machine.nodes) if node.cpus and node.memory)
    replicas = both or tuple(i for i, node in enumerate(machine.nodes) if node.memory)
    return MachineKind(machine, np.array([float(len(n.cpus)) for n in machine.nodes]), memory, penalty, order, replicas)


def _check_room(problem: Problem) -> None:
    topology, demands = problem.topology, problem.classes
    busy, have = total_cpus(demands), float(problem.cpu_room.sum())
    if busy > have * (1 + 1e-9):
        cpus = have / problem.overcommit
        enough = f"; {busy / cpus:.3g} or more would do" if cpus else ""
        raise PlacementError(
            f"overcommit={problem.overcommit:g}: the groups keep {busy:g} CPUs busy, {topology.name} has {cpus:g}{enough}"
        )
    largest = max(demands, key=lambda one: one.cpus)
    if largest.cpus > problem.cpu_room.max() * (1 + 1e-9):
        raise PlacementError(
            f"groups.{largest.group}.cpus={largest.cpus:g}: no node of {topology.name} has so many "
            f"({problem.cpu_room.max():g}); split the group"
        )
    need = sum(one.count * (one.private_bytes + one.table_bytes) for one in demands)
    need += sum(domain.data + domain.tables for domain in problem.domains)
    memory = float(problem.memory_room.sum())
    if need > memory:
        raise PlacementError(f"groups need {format_size(need)}, {topology.name} has {format_size(memory)}")
    most = float(np.add.reduceat(problem.memory_room, problem.start[:-1]).max())
    for c, one in enumerate(demands):
        domain = problem.domains[problem.domain_of[c]] if problem.domain_of[c] >= 0 else None
        size = one.private_bytes + one.table_bytes + (domain.data + domain.tables if domain else 0)
        if size > most:
            raise PlacementError(
                f"groups.{one.group}: one unit and its domain need {format_size(size)}, the largest machine of "
                f"{topology.name} has {format_size(most)}"
            )
