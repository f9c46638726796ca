"""The placement problem as a mixed-integer program.

Decided are, for every class of like units, how many sit on each node (`x`, whole); for every domain and machine, the pattern of
its data (`p`) and of its common tables (`q`), one each where the domain is used; and how much of the units' private data and
own tables spills from the node that is fastest for them to others (`spill`, any fraction).

The cost of shared memory is a product of who sits where and which pattern is chosen. It is linearised without loss: `reads[c, s,
j]` is the number of units of class c on node s that find pattern j, which adds up to `x` over the patterns, and, over a
machine's nodes, to no more than the class's units where the pattern is chosen. Since exactly one pattern is, the products are
exact for whole `x`, however many like units a class has; that is what makes cohorts cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.patterns import Pattern, data_patterns, table_patterns
from mshare_bench.placement.problem import Problem

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Program", "make_program"]

_GIB = float(1 << 30)


@dataclass
class Program:
    """Columns and rows.

    Attributes
    ----------
    cost, upper, whole
        Per column: ns per second, largest value (the smallest is 0), and if it has to be whole.
    low, high
        Per row: the range of its value.
    seats
        Column of `x` by (class, node).
    patterns
        By (domain, machine), the data's patterns and the tables', each with its column.
    spills
        By (class, node, stream), the node where nothing has spilled, and pairs of a farther node and its column; stream 0 is
        private data, 1 own tables.
    reads
        By (class, machine, 0 for data or 1 for tables), the columns by (local node, pattern).
    further
        By domain, the column that counts copies beyond the first.
    away
        By (class, other class, machine), the column that counts units whose partner is on another machine.
    near, overflow
        See `make_program`; the columns of what spills to nowhere.
    """

    problem: Problem
    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    seats: dict[tuple[int, int], int] = field(default_factory=dict)
    patterns: dict[tuple[int, int], tuple[list[tuple[Pattern, int]], list[tuple[Pattern, int]]]] = field(
        default_factory=dict
    )
    spills: dict[tuple[int, int, int], tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    reads: dict[tuple[int, int, int], dict[tuple[int, int], int]] = field(default_factory=dict)
    further: dict[int, int] = field(default_factory=dict)
    away: dict[tuple[int, int, int], int] = field(default_factory=dict)
    near: int | None = None
    overflow: list[int] = field(default_factory=list)
    _entries: list[tuple[int, int, float]] = field(default_factory=list)

    def column(self, cost: float, upper: float = np.inf, whole: bool = False) -> int:
        """Add a variable."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, terms: Sequence[tuple[int, float]], low: float, high: float) -> None:
        """Add a constraint on a sum of variables times factors."""
        self._entries.extend((len(self.low), column, factor) for column, factor in terms if factor)
        self.low.append(low)
        self.high.append(high)

    def limit(self, most: float) -> None:
        """Ask for a cost of at most so many ns per second."""
        scale = max(most, 1.0)
        self.row([(column, cost / scale) for column, cost in enumerate(self.cost)], -np.inf, most / scale)

    def matrix(self) -> "csr_array[Any, tuple[int, int]]":
        """Give the rows' factors."""
        from scipy.sparse import csr_array

        rows, columns, factors = zip(*self._entries, strict=True)
        return csr_array((factors, (rows, columns)), shape=(len(self.low), len(self.cost)))


def make_program(problem: Problem, *, near: int | None = None, ordered: bool = False) -> Program:
    """Write the problem as a program; its cost is that of `cost_of` without the fixed part.

    With `near`, private data and own tables may spill to so many nearest nodes only, and beyond them to nowhere, at the price
    of the next node and without taking room. That is a relaxation, far smaller, whose optimum is a bound; where it does not use
    that (`overflow`), it is the optimum.
    With `ordered`, like machines come in the order of their load, so that no placement occurs once per order of them.
    """
    program = Program(problem, near=near)
    memory: list[list[tuple[int, float]]] = [[] for _ in problem.memory_room]
    _add_seats(program)
    for c in range(len(problem.classes)):
        _add_spills(program, c, memory)
    for domain in range(len(problem.domains)):
        for machine in range(len(problem.kind_of)):
            _add_patterns(program, domain, machine, memory)
        _require_copy(program, domain)
    for c, domain in enumerate(problem.domain_of):
        if domain >= 0:
            for machine in range(len(problem.kind_of)):
                _add_reads(program, c, machine)
    _add_traffic(program)
    for node, terms in enumerate(memory):
        program.row(terms, -np.inf, problem.memory_room[node] / _GIB)
    _add_capacity(program, ordered)
    return program


def _nodes(problem: Problem, machine: int) -> range:
    return range(int(problem.start[machine]), int(problem.start[machine + 1]))


def _penalty(problem: Problem, machine: int) -> NDArray[np.float64]:
    return problem.kinds[problem.kind_of[machine]].penalty


def _add_seats(program: Program) -> None:
    problem = program.problem
    for c, one in enumerate(problem.classes):
        for node in np.flatnonzero(problem.cpu_room):
            most = int(problem.cpu_room[node] / one.cpus + 1e-9) if one.cpus else one.count
            if most:
                program.seats[c, int(node)] = program.column(0.0, min(most, one.count), True)
        columns = [program.seats[c, n] for n in range(len(problem.cpu_room)) if (c, n) in program.seats]
        program.row([(column, 1.0) for column in columns], one.count, one.count)


def _add_spills(program: Program, c: int, memory: list[list[tuple[int, float]]]) -> None:
    problem, one = program.problem, program.problem.classes[c]
    data_rate, table_rate, _, _ = problem.rates(c)
    for machine in range(len(problem.kind_of)):
        nodes, penalty = _nodes(problem, machine), _penalty(problem, machine)
        held = [node for node in nodes if problem.memory_room[node]]
        for seat in nodes:
            if (c, seat) not in program.seats:
                continue
            x = program.seats[c, seat]
            row = penalty[seat - nodes.start]
            best = min(held, key=lambda node: (row[node - nodes.start], node))
            for stream, (size, rate) in enumerate(((one.private_bytes, data_rate), (one.table_bytes, table_rate))):
                program.cost[x] += rate * row[best - nodes.start]
                farther = []
                if size:
                    memory[best].append((x, size / _GIB))
                    others = sorted((float(row[node - nodes.start]), node) for node in held if node != best)
                    reach = len(others) if program.near is None else program.near * (1 - stream)
                    for rank, (penalty_there, node) in enumerate(others[: reach + 1]):
                        column = program.column(rate * (penalty_there - row[best - nodes.start]), program.upper[x])
                        farther.append((node, column))
                        memory[best].append((column, -size / _GIB))
                        if rank < reach:
                            memory[node].append((column, size / _GIB))
                        else:
                            program.overflow.append(column)
                    if farther:
                        program.row([(column, 1.0) for _, column in farther] + [(x, -1.0)], -np.inf, 0.0)
                program.spills[c, seat, stream] = (best, farther)


def _add_patterns(program: Program, domain: int, machine: int, memory: list[list[tuple[int, float]]]) -> None:
    problem, thing = program.problem, program.problem.domains[domain]
    kind, nodes = problem.kinds[problem.kind_of[machine]], _nodes(problem, machine)
    price = problem.memory_price()
    chosen: list[list[tuple[Pattern, int]]] = []
    for size, patterns in ((thing.data, data_patterns(kind)), (thing.tables, table_patterns(kind))):
        columns = []
        for pattern in patterns if size or not chosen else ():
            if (pattern.share * size <= kind.memory).all():
                column = program.column(price * size * (pattern.replicas - 1), 1.0, True)
                columns.append((pattern, column))
                for local in np.flatnonzero(pattern.share):
                    memory[nodes.start + int(local)].append((column, float(pattern.share[local]) * size / _GIB))
        chosen.append(columns)
    data, tables = chosen
    program.patterns[domain, machine] = (data, tables)
    program.row([(column, 1.0) for _, column in data], 0.0, 1.0)
    if thing.tables:
        program.row([(q, 1.0) for _, q in tables] + [(p, -1.0) for _, p in data], 0.0, 0.0)


def _require_copy(program: Program, domain: int) -> None:
    """One copy at least, which is a fixed cost; every further one costs its memory."""
    problem, thing = program.problem, program.problem.domains[domain]
    machines = range(len(problem.kind_of))
    columns = [column for machine in machines for _, column in program.patterns[domain, machine][0]]
    if len(machines) == 1:
        program.row([(column, 1.0) for column in columns], 1.0, 1.0)
        return
    further = program.column(problem.memory_price() * (thing.data + thing.tables), len(machines) - 1)
    program.further[domain] = further
    program.row([(column, 1.0) for column in columns] + [(further, -1.0)], 1.0, 1.0)


def _add_reads(program: Program, c: int, machine: int) -> None:
    problem, one, domain = program.problem, program.problem.classes[c], program.problem.domain_of[c]
    nodes = _nodes(problem, machine)
    seats = [(node - nodes.start, program.seats[c, node]) for node in nodes if (c, node) in program.seats]
    _, _, data_rate, table_rate = problem.rates(c)
    update = one.table_updates_per_s * problem.prices.replica_update_ns
    data, tables = program.patterns[domain, machine]
    linked = False
    for which, (rate, per_replica, patterns) in enumerate(((data_rate, 0.0, data), (table_rate, update, tables))):
        costs = {
            (local, j): rate * float(pattern.penalty[local]) + per_replica * (pattern.replicas - 1)
            for j, (pattern, _) in enumerate(patterns)
            for local, _ in seats
        }
        if len(set(costs.values())) < 2:  # nothing to choose
            for _, x in seats if costs else ():
                program.cost[x] += next(iter(costs.values()))
            continue
        linked = True
        columns = {(local, j): program.column(cost, one.count) for (local, j), cost in costs.items()}
        program.reads[c, machine, which] = columns
        for local, x in seats:
            program.row([(columns[local, j], 1.0) for j in range(len(patterns))] + [(x, -1.0)], 0.0, 0.0)
        for j, (_, chosen) in enumerate(patterns):
            program.row([(columns[local, j], 1.0) for local, _ in seats] + [(chosen, -float(one.count))], -np.inf, 0.0)
    if not linked and seats:
        program.row([(x, 1.0) for _, x in seats] + [(p, -float(one.count)) for _, p in data], -np.inf, 0.0)


def _add_traffic(program: Program) -> None:
    problem, price = program.problem, program.problem.traffic_price()
    if len(problem.kind_of) < 2:
        return
    for c, far, volume in problem.traffic:
        count = problem.classes[c].count
        for machine in range(len(problem.kind_of)):
            nodes = _nodes(problem, machine)
            away = program.away[c, far, machine] = program.column(volume * price, count)
            here = [(program.seats[c, node], 1.0) for node in nodes if (c, node) in program.seats]
            there = [(program.seats[far, node], -float(count)) for node in nodes if (far, node) in program.seats]
            program.row([*here, *there, (away, -1.0)], -np.inf, 0.0)


def _add_capacity(program: Program, ordered: bool) -> None:
    problem = program.problem
    loads: list[list[tuple[int, float]]] = [[] for _ in problem.cpu_room]
    for (c, node), column in program.seats.items():
        loads[node].append((column, problem.classes[c].cpus))
    for node, terms in enumerate(loads):
        program.row(terms, -np.inf, float(problem.cpu_room[node]))
    for _, group in groupby(
        range(len(problem.kind_of)) if ordered else (), key=lambda machine: problem.kind_of[machine]
    ):
        machines = list(group)
        for one, other in pairwise(machines):
            busier = [term for node in _nodes(problem, one) for term in loads[node]]
            idler = [(column, -load) for node in _nodes(problem, other) for column, load in loads[node]]
            program.row(busier + idler, 0.0, np.inf)
