"""What an assignment costs, in nanoseconds per second of run, and what it takes of every node.

The cost is the sum of five terms:

- *memory*: every byte held (private data and tables, each copy of a domain's data and tables) times its price;
- *remote data*: reads of data that reach memory, times what their nodes take longer than the fastest load of the topology;
- *remote walks*: the same for page walks, to own tables and to common ones; replicated tables are read at the nearest replica;
- *replica updates*: changes of common tables times the replicas beyond the first;
- *traffic*: bytes between groups on different machines times the network's cost of a byte.

`fixed` is the part that no placement changes: the memory of one copy of everything.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.units import format_size
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment, Seat, Shares
from mshare_bench.placement.problem import Problem

__all__ = ["Cost", "NodeUse", "cost_of", "fixed_cost", "node_use"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """The terms of the cost, in ns per second; see the module."""

    memory: float
    remote_data: float
    remote_walks: float
    replica_updates: float
    traffic: float
    fixed: float

    @property
    def total(self) -> float:
        """Sum of all terms (`fixed` is a part of `memory`)."""
        return self.memory + self.remote_data + self.remote_walks + self.replica_updates + self.traffic

    @property
    def variable(self) -> float:
        """What a better placement could save at most."""
        return self.total - self.fixed

    def minus(self, other: "Cost") -> "Cost":
        """Difference of every term."""
        return Cost(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class NodeUse:
    """What lies and runs on one node."""

    machine: int
    node: int
    processes: int
    cpus: float
    data_bytes: float
    page_table_bytes: float


def fixed_cost(problem: Problem) -> float:
    """Price of the memory of one copy of everything, in ns per second."""
    own = sum(one.count * (one.private_bytes + one.table_bytes) for one in problem.classes)
    return problem.memory_price() * (own + sum(domain.data + domain.tables for domain in problem.domains))


def cost_of(problem: Problem, assignment: Assignment) -> Cost:
    """Cost of an assignment.

    Raises
    ------
    PlacementError
        When it is none of this problem: a unit or a copy is missing or too many, or a node is over its capacity.
    """
    use = node_use(problem, assignment)
    _check(problem, assignment, use)
    copies = {(copy.domain, copy.machine): copy for copy in assignment.copies}
    data = walks = updates = 0.0
    for seat in assignment.seats:
        c = problem.class_of[seat.demand]
        own_data, own_walks, common_data, common_walks = problem.rates(c)
        data += seat.count * own_data * _penalty(problem, seat, seat.data, False)
        walks += seat.count * own_walks * _penalty(problem, seat, seat.tables, seat.replicated)
        domain = problem.domain_of[c]
        if domain >= 0:
            copy = copies[problem.domains[domain].name, seat.machine]
            data += seat.count * common_data * _penalty(problem, seat, copy.data, False)
            walks += seat.count * common_walks * _penalty(problem, seat, copy.tables, copy.replicated)
            extra = len(copy.tables) - 1 if copy.replicated else 0
            updates += seat.count * problem.classes[c].table_updates_per_s * extra * problem.prices.replica_update_ns
    held = sum(one.data_bytes + one.page_table_bytes for one in use)
    memory, traffic = problem.memory_price() * held, _traffic(problem, assignment.seats)
    return Cost(memory, data, walks, updates, traffic, fixed_cost(problem))


def node_use(problem: Problem, assignment: Assignment) -> tuple[NodeUse, ...]:
    """Give what every node that is used holds and runs, in the order of machines and nodes."""
    domains = {domain.name: domain for domain in problem.domains}
    rows: dict[tuple[int, int], NDArray[np.float64]] = {}

    def add(machine: int, node: int, *amounts: float) -> None:
        rows[machine, node] = rows.get((machine, node), np.zeros(4)) + np.array(amounts)

    for seat in assignment.seats:
        one = problem.demands[seat.demand]
        add(seat.machine, seat.node, seat.count * one.processes, seat.count * one.cpus, 0, 0)
        for node, share in seat.data:
            add(seat.machine, node, 0, 0, seat.count * share * one.private_bytes, 0)
        for node, share in seat.tables:
            add(seat.machine, node, 0, 0, 0, seat.count * share * one.table_bytes)
    for copy in assignment.copies:
        for node, share in copy.data:
            add(copy.machine, node, 0, 0, share * domains[copy.domain].data, 0)
        for node, share in copy.tables:
            add(copy.machine, node, 0, 0, 0, share * domains[copy.domain].tables)
    return tuple(
        NodeUse(machine, node, round(row[0]), float(row[1]), float(row[2]), float(row[3]))
        for (machine, node), row in sorted(rows.items())
    )


def _penalty(problem: Problem, seat: Seat, where: Shares, replicated: bool) -> float:
    kind = problem.kinds[problem.kind_of[seat.machine]]
    row = kind.penalty[kind.machine.index(seat.node)]
    each = [(row[kind.machine.index(node)], share) for node, share in where]
    return float(min(p for p, _ in each)) if replicated else float(sum(p * share for p, share in each))


def _traffic(problem: Problem, seats: Sequence[Seat]) -> float:
    units: Counter[tuple[str, int]] = Counter()
    for seat in seats:
        units[seat.group, seat.machine] += seat.count
    whole: Counter[str] = Counter()
    for (group, _), count in units.items():
        whole[group] += count
    away = 0.0
    for seat in seats:
        for other, volume in problem.demands[seat.demand].traffic:
            away += seat.count * volume * (1 - units[other, seat.machine] / whole[other])
    return away * problem.traffic_price()


def _check(problem: Problem, assignment: Assignment, use: Sequence[NodeUse]) -> None:
    seated = Counter[int]()
    for seat in assignment.seats:
        seated[seat.demand] += seat.count
    for number, one in enumerate(problem.demands):
        if seated[number] != one.count:
            raise PlacementError(f"groups.{one.group}.count={one.count}: {seated[number]} units were placed")
    names = [domain.name for domain in problem.domains]
    needed = {(problem.demands[s.demand].domain, s.machine) for s in assignment.seats} - {
        (None, machine) for machine in assignment.machines()
    }
    made = Counter((copy.domain, copy.machine) for copy in assignment.copies)
    if set(made) != needed or len(made) != len(assignment.copies):
        raise PlacementError(f"domains={names}: copies {sorted(made)} do not match the units that map them")
    _check_shares(assignment)
    for row in use:
        node = int(problem.start[row.machine]) + problem.topology.machine(row.machine).index(row.node)
        held, room = row.data_bytes + row.page_table_bytes, float(problem.memory_room[node])
        if held > room * (1 + _TOLERANCE) + 1:
            raise PlacementError(
                f"node={row.node}: machine {row.machine} would hold {format_size(held)} there, it has {format_size(room)}"
            )
        if row.cpus > problem.cpu_room[node] * (1 + _TOLERANCE):
            raise PlacementError(
                f"node={row.node}: machine {row.machine} would keep {row.cpus:g} CPUs busy there, it has "
                f"{problem.cpu_room[node]:g}"
            )


def _check_shares(assignment: Assignment) -> None:
    wheres = [(seat.data, False) for seat in assignment.seats] + [(copy.data, False) for copy in assignment.copies]
    wheres += [(seat.tables, seat.replicated) for seat in assignment.seats]
    wheres += [(copy.tables, copy.replicated) for copy in assignment.copies]
    for where, copied in wheres:
        shares = [share for _, share in where]
        if min(shares, default=0.0) <= 0 or abs(sum(shares) - (len(shares) if copied else 1)) > _TOLERANCE:
            raise PlacementError(f"shares={dict(where)}: must be positive and add up to 1")
