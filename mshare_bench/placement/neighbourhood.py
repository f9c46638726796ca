"""Improves a placement piece by piece: a few nodes are cleared, and the program decides anew who and what goes there.

Everything outside the piece stays as it is, so that each step is a small program that is solved to its optimum.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.program import Program

__all__ = ["refine", "write_solution"]

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FIRST_SIZE = 3
_STEP_SECONDS = 4.0
_PATIENCE = 40
"""Steps without gain at the largest size tried before giving up."""


def write_solution(program: Program, assignment: Assignment) -> Floats:
    """Give the values of the program's variables that stand for an assignment."""
    problem = program.problem
    values = np.zeros(len(program.cost))
    for seat in assignment.seats:
        first = int(problem.start[seat.machine])
        machine = problem.topology.machine(seat.machine)
        node = first + machine.index(seat.node)
        for c, units in _classes_of(program, seat.demand, seat.count, values):
            values[program.seats[c, node]] += units
            for stream, where in ((0, seat.data), (1, () if seat.replicated else seat.tables)):
                columns = dict(program.spills[c, node, stream][1])
                for node_id, share in where:
                    column = columns.get(first + machine.index(node_id))
                    if column is not None:
                        values[column] += share * units
    names = {domain.name: d for d, domain in enumerate(problem.domains)}
    for copy in assignment.copies:
        machine = problem.topology.machine(copy.machine)
        for columns_of, where in zip(
            program.patterns[names[copy.domain], copy.machine], (copy.data, copy.tables), strict=True
        ):
            wanted = np.zeros(len(machine.nodes))
            for node_id, amount in where:
                wanted[machine.index(node_id)] = amount
            for pattern, column in columns_of:
                if np.allclose(pattern.share, wanted, atol=1e-6):
                    values[column] = 1.0
                    break
    _follow(program, values)
    return values


def refine(program: Program, values: Floats, seconds: float, seed: int = 0, goal: float = -np.inf) -> Floats:
    """Improve a solution until the time is up, the goal is reached or nothing gains any more.

    Parameters
    ----------
    values
        Of the program's variables, as `write_solution` gives them.
    goal
        Cost (of the program, in ns per second) at which to stop.
    """
    rng = np.random.default_rng(seed)
    cost = np.array(program.cost)
    matrix = program.matrix().tocsc()
    columns = _columns(program)
    end = time.monotonic() + seconds
    size, idle = _FIRST_SIZE, 0
    nodes = len(program.problem.cpu_room)
    while (left := end - time.monotonic()) > 0.2 and idle < _PATIENCE and cost @ values > goal:
        piece = _pick(program, values, rng, min(size, nodes))
        started = time.monotonic()
        better = _solve_piece(program, columns, matrix, cost, values, piece, min(left, _STEP_SECONDS))
        slow = time.monotonic() - started > 0.7 * _STEP_SECONDS
        if better is None:
            idle += 1
            if not slow and idle % 4 == 0:
                size = min(size + 1, nodes)
        else:
            values, idle = better, 0
        if slow:
            size = max(_FIRST_SIZE - 1, size - 1)
    return values


def _classes_of(program: Program, demand: int, count: int, values: Floats) -> list[tuple[int, int]]:
    """Say which classes those units of a demand are: most often one, single ones where others send to them."""
    problem = program.problem
    first = problem.class_of[demand]
    if not (
        problem.demands[demand].count > 1 and len(problem.members[first]) == 1 and problem.classes[first].count == 1
    ):
        return [(first, count)]
    columns: dict[int, list[int]] = {}
    for (c, _), column in program.seats.items():
        if problem.members[c] == ((demand, 1),):
            columns.setdefault(c, []).append(column)
    free = [c for c, mine in columns.items() if not values[mine].any()]
    return [(c, 1) for c in free[:count]]


def _follow(program: Program, values: Floats) -> None:
    """Set the variables that the seats and the patterns determine."""
    problem = program.problem
    for (c, machine, which), columns in program.reads.items():
        patterns = program.patterns[problem.domain_of[c], machine][which]
        first = int(problem.start[machine])
        for (local, j), column in columns.items():
            values[column] = values[program.seats[c, first + local]] * (values[patterns[j][1]] > 0.5)
    for domain, column in program.further.items():
        copies = sum(values[p] for m in range(len(problem.kind_of)) for _, p in program.patterns[domain, m][0])
        values[column] = max(copies - 1.0, 0.0)
    for (c, far, machine), column in program.away.items():
        nodes = range(int(problem.start[machine]), int(problem.start[machine + 1]))
        here = sum(values[program.seats[c, node]] for node in nodes if (c, node) in program.seats)
        there = sum(values[program.seats[far, node]] for node in nodes if (far, node) in program.seats)
        values[column] = max(here - problem.classes[c].count * there, 0.0)


def _pick(program: Program, values: Floats, rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Choose nodes: those where a random class's domain sits, topped up with random ones."""
    problem = program.problem
    usable = np.flatnonzero(problem.cpu_room > 0)
    chosen: list[int] = []
    c = int(rng.integers(len(problem.classes)))
    domain = problem.domain_of[c]
    for (other, node), column in program.seats.items():
        if values[column] > 0.5 and (other == c or (domain >= 0 and problem.domain_of[other] == domain)):
            chosen.append(node)
    picked = list(dict.fromkeys(int(node) for node in rng.permutation(chosen)))[: max(1, size - 1)]
    rest = [int(node) for node in rng.permutation(usable) if int(node) not in picked]
    piece = np.zeros(len(problem.cpu_room), bool)
    piece[picked + rest[: max(0, size - len(picked))]] = True
    return piece


@dataclass(frozen=True)
class _Columns:
    """The program's columns as arrays, so that a piece is chosen quickly."""

    seat: Ints
    seat_class: Ints
    seat_node: Ints
    spill: Ints
    spill_seat: Ints
    pattern: Ints
    pattern_domain: Ints
    pattern_machine: Ints
    read: Ints
    read_seat: Ints
    read_pattern: Ints
    always: Ints


def _columns(program: Program) -> _Columns:
    problem = program.problem
    seats = _table([(column, c, node) for (c, node), column in program.seats.items()], 3)
    spills = _table(
        [(column, program.seats[c, node]) for (c, node, _), (_, far) in program.spills.items() for _, column in far], 2
    )
    patterns = _table(
        [(column, d, m) for (d, m), both in program.patterns.items() for columns in both for _, column in columns], 3
    )
    reads: list[tuple[int, int, int]] = []
    for (c, machine, which), mine in program.reads.items():
        chosen = program.patterns[problem.domain_of[c], machine][which]
        first = int(problem.start[machine])
        reads.extend((column, program.seats[c, first + local], chosen[j][1]) for (local, j), column in mine.items())
    read = _table(reads, 3)
    always = np.array([*program.further.values(), *program.away.values()], np.int64)
    return _Columns(
        seats[:, 0],
        seats[:, 1],
        seats[:, 2],
        spills[:, 0],
        spills[:, 1],
        patterns[:, 0],
        patterns[:, 1],
        patterns[:, 2],
        read[:, 0],
        read[:, 1],
        read[:, 2],
        always,
    )


def _table(rows: Sequence[tuple[int, ...]], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width)


def _free_columns(program: Program, columns: _Columns, values: Floats, piece: NDArray[np.bool_]) -> NDArray[np.bool_]:
    problem = program.problem
    free = np.zeros(len(values), bool)
    inside = np.zeros(len(problem.classes), bool)
    inside[columns.seat_class[piece[columns.seat_node] & (values[columns.seat] > 0.5)]] = True
    free[columns.seat] = piece[columns.seat_node] & inside[columns.seat_class]
    free[columns.spill] = free[columns.spill_seat]
    domains = np.zeros(len(problem.domains) + 1, bool)
    domains[np.array(problem.domain_of)[inside]] = True
    domains[-1] = False  # classes without a domain
    machines = np.isin(np.arange(len(problem.kind_of)), problem.machine_of[piece])
    free[columns.pattern] = domains[columns.pattern_domain] & machines[columns.pattern_machine]
    sits = free[columns.read_seat] | (values[columns.read_seat] > 0.5)
    free[columns.read] = sits & (free[columns.read_pattern] | (values[columns.read_pattern] > 0.5))
    free[columns.always] = True
    return free


def _solve_piece(
    program: Program,
    columns: _Columns,
    matrix: "csc_array[Any]",
    cost: Floats,
    values: Floats,
    piece: NDArray[np.bool_],
    seconds: float,
) -> Floats | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    free = _free_columns(program, columns, values, piece)
    kept = matrix[:, free].tocsr()
    used = np.diff(kept.indptr) > 0
    rest = matrix[:, ~free] @ values[~free]
    low, high = np.array(program.low) - rest, np.array(program.high) - rest
    part = cost[free]
    scale = float(np.median(part[part > 0])) if (part > 0).any() else 1.0
    result = milp(
        part / scale,
        integrality=np.array(program.whole, np.uint8)[free],
        bounds=Bounds(0.0, np.array(program.upper)[free]),
        constraints=LinearConstraint(kept[used], low[used], high[used]),
        options={"time_limit": seconds, "mip_rel_gap": 1e-3},
    )
    now = float(part @ values[free])
    if result.x is None or float(part @ result.x) >= now - 1e-7 * abs(float(cost @ values)) - 1e-9:
        return None
    improved = values.copy()
    improved[free] = np.where(np.array(program.whole)[free], np.round(result.x), np.maximum(result.x, 0.0))
    return improved
