"""The best placement there is, or one with a proven distance from it.

Up to a size that a mixed-integer program can solve, HiGHS (through `scipy.optimize.milp`) solves it to optimality or until the
time is up. Beyond, the heuristic's placement is improved piece by piece (`neighbourhood`) until it is as near as asked to the
bound that the program without whole numbers gives. Beyond even that size, it is the heuristic's placement, and the bound is the
fixed cost.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.units import format_size
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.cost import Cost, cost_of, fixed_cost
from mshare_bench.placement.heuristic import improve
from mshare_bench.placement.neighbourhood import refine, write_solution
from mshare_bench.placement.patterns import Pattern
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.program import Program, make_program
from mshare_bench.placement.seating import Unit, collect_seats, domain_copy

__all__ = ["Optimum", "approximate", "lower_bound", "optimize", "read_solution", "solve_program"]

_NEAR = 2
"""Nodes to which private memory may spill in the first, smaller program; most often it needs no more."""

_SMALL = 2_000
"""Columns up to which the program is solved without a heuristic's cost to stay below."""

_LARGEST_GAP = 1e-3
_DIRECT = 15_000
_LARGEST = 400_000
"""Columns up to which the program is solved as it is, and up to which it is solved at all."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """A placement and how far from the best it can be.

    Attributes
    ----------
    assignment, cost
        The placement and its cost.
    bound
        No placement costs less, in ns per second.
    proven
        Optimal up to the gap that was asked for.
    method
        `program`, `neighbourhoods` or `heuristic`: which of them found it.
    seconds
        Time it took.
    """

    assignment: Assignment
    cost: Cost
    bound: float
    proven: bool
    method: str
    seconds: float

    @property
    def gap(self) -> float:
        """How much the placement may be dearer than the best, over its cost."""
        return max(self.cost.total - self.bound, 0.0) / self.cost.total if self.cost.total else 0.0

    @property
    def strict_gap(self) -> float:
        """The same over the part of the cost that placement can change (the fixed cost left out)."""
        excess = max(self.cost.total - self.bound, 0.0)
        return excess / self.cost.variable if self.cost.variable > 1e-9 * self.cost.total else 0.0


@dataclass(frozen=True, slots=True)
class _Solved:
    values: NDArray[np.float64] | None
    bound: float
    proven: bool
    feasible: bool


def optimize(problem: Problem, *, time_limit: float = 60.0, gap: float = 1e-6, seed: int = 0) -> Optimum:
    """Find the best placement.

    Parameters
    ----------
    time_limit
        Seconds for the program; the heuristic adds some of its own.
    gap
        Relative gap at which a placement counts as optimal.
    seed
        Of the heuristic's restarts.

    Raises
    ------
    PlacementError
        When no placement exists, or none was found in the time.
    """
    started = time.monotonic()
    columns = _columns(problem)
    fixed = fixed_cost(problem)
    if columns > _LARGEST:
        return _result(problem, improve(problem, seed=seed), fixed, gap, "heuristic", started)
    if columns <= _DIRECT:
        return _solve_directly(problem, time_limit, gap, seed, started)
    return approximate(problem, time_limit=time_limit, gap=gap, seed=seed)


def approximate(problem: Problem, *, time_limit: float, gap: float = 0.01, seed: int = 0) -> Optimum:
    """Find a good placement by the heuristic and then piece by piece, and a bound from the program without whole numbers.

    What `optimize` does with problems beyond the size that the program is solved for; it stops early when the gap is reached.
    """
    started = time.monotonic()
    fixed = fixed_cost(problem)
    start = improve(problem, restarts=0, seed=seed)
    bound = fixed + lower_bound(problem, time_limit - (time.monotonic() - started))
    program = make_program(problem)
    values = write_solution(program, start)
    seconds = time_limit - (time.monotonic() - started)
    values = refine(program, values, seconds, seed, goal=bound / (1 - gap) - fixed)
    return _result(problem, read_solution(program, values, "optimal"), bound, gap, "neighbourhoods", started)


def _solve_directly(problem: Problem, time_limit: float, gap: float, seed: int, started: float) -> Optimum:
    bound, fixed = 0.0, fixed_cost(problem)
    best: Optimum | None = None
    start: Optimum | None = None
    if _columns(problem) > _SMALL:
        with suppress(PlacementError):
            start = _result(problem, improve(problem, restarts=1, seed=seed), fixed, gap, "heuristic", started)
    if start is not None and start.cost.variable > 0:
        # `gap` is of the whole cost, the program's own of the part that can change.
        gap_of_program = min(max(gap * start.cost.total / start.cost.variable, gap), _LARGEST_GAP)
    else:
        gap_of_program = gap
    for near in (_NEAR, None):
        program = make_program(problem, near=near, ordered=True)
        if start is not None:
            program.limit(start.cost.variable * (1 + 1e-6) + 1e-9 * fixed)
        left = time_limit - (time.monotonic() - started)
        if left <= 0:
            break
        solved = solve_program(program, left, gap_of_program)
        if not solved.feasible:
            raise PlacementError(_infeasible(problem))
        bound = max(bound, solved.bound)
        if solved.values is not None and solved.values[program.overflow].sum() < 1e-7:
            made = read_solution(program, solved.values, "optimal")
            best = _result(problem, made, fixed + bound, gap, "program", started)
            if solved.proven:
                return replace(best, proven=True)
    other = _result(problem, improve(problem, seed=seed), fixed + bound, gap, "heuristic", started)
    return other if best is None or other.cost.total < best.cost.total else best


def lower_bound(problem: Problem, seconds: float) -> float:
    """Bound from below what any placement costs beyond the fixed cost, by the program without whole numbers.

    The program is relaxed in memory, too (`near` of `make_program`). Without a result in the time the bound is 0.
    """
    from scipy.optimize import linprog
    from scipy.sparse import vstack

    program = make_program(problem, near=1)
    matrix, low, high = program.matrix(), np.array(program.low), np.array(program.high)
    equal, above, below = low == high, np.isfinite(high) & (low != high), np.isfinite(low) & (low != high)
    cost = np.array(program.cost)
    scale = float(np.median(cost[cost > 0])) if (cost > 0).any() else 1.0
    result = linprog(  # type: ignore[call-overload]  # the stubs know no sparse matrices
        cost / scale,
        vstack([matrix[above], -matrix[below]]),
        np.concatenate([high[above], -low[below]]),
        matrix[equal],
        low[equal],
        bounds=np.stack([np.zeros(len(cost)), np.array(program.upper)], axis=1),
        method="highs-ipm",
        options={"time_limit": max(seconds, 1.0)},
    )
    # A dual solution that is a little off would make a bound a little too good.
    return max(float(result.fun) * scale * (1 - 1e-6), 0.0) if result.status == 0 else 0.0


def solve_program(program: Program, time_limit: float, gap: float) -> _Solved:
    """Run HiGHS."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    cost = np.array(program.cost)
    scale = float(np.median(cost[cost > 0])) if (cost > 0).any() else 1.0
    result = milp(
        cost / scale,
        integrality=np.array(program.whole, np.uint8),
        bounds=Bounds(0.0, np.array(program.upper)),
        constraints=LinearConstraint(program.matrix(), program.low, program.high),
        options={"time_limit": time_limit, "mip_rel_gap": gap},
    )
    if result.status == 2:
        return _Solved(None, np.inf, False, False)
    bound = result.mip_dual_bound if result.mip_dual_bound is not None else 0.0
    return _Solved(result.x, float(bound) * scale, result.status == 0, True)


def read_solution(program: Program, values: NDArray[np.float64], name: str) -> Assignment:
    """Read the assignment that the program's values stand for."""
    problem = program.problem
    units: list[Unit] = []
    used = set()
    for (c, node), column in program.seats.items():
        count = round(values[column])
        if count:
            machine = int(problem.machine_of[node])
            used.add((problem.domain_of[c], machine))
            units.append((c, node, count, *(_stream(program, values, c, node, s, count) for s in (0, 1)), False))
    copies = []
    for (domain, machine), (data, tables) in program.patterns.items():
        if (domain, machine) in used:
            chosen = _chosen(values, data)
            copies.append(domain_copy(problem, domain, machine, chosen, _chosen(values, tables) if tables else chosen))
    return Assignment(collect_seats(problem, units), tuple(copies), name, name)


def _columns(problem: Problem) -> int:
    """Estimate the size of the program."""
    seats = reads = spills = 0
    for c, _ in enumerate(problem.classes):
        for k in problem.kind_of:
            nodes = int((problem.kinds[k].cpus > 0).sum())
            held = int((problem.kinds[k].memory > 0).sum())
            seats += nodes
            spills += nodes * (held - 1) * 2
            reads += nodes * (held + 2) * 2 if problem.domain_of[c] >= 0 else 0
    return seats + reads + spills


def _result(problem: Problem, assignment: Assignment, bound: float, gap: float, method: str, started: float) -> Optimum:
    named = replace(assignment, policy="optimal", tables="optimal")
    cost = cost_of(problem, named)
    found = Optimum(named, cost, min(bound, cost.total), False, method, time.monotonic() - started)
    return replace(found, proven=found.gap <= gap)


def _infeasible(problem: Problem) -> str:
    busy = sum(one.count * one.cpus for one in problem.classes)
    held = sum(one.count * (one.private_bytes + one.table_bytes) for one in problem.classes)
    held += sum(domain.data + domain.tables for domain in problem.domains)
    return (
        f"placement=optimal: the {problem.units} units ({busy:g} CPUs, {format_size(held)}) can't be divided among the nodes of "
        f"{problem.topology.name} ({problem.cpu_room.sum():g} CPUs, {format_size(problem.topology.memory)})"
    )


def _chosen(values: NDArray[np.float64], patterns: list[tuple[Pattern, int]]) -> Pattern:
    return max(patterns, key=lambda one: values[one[1]])[0]


def _stream(
    program: Program, values: NDArray[np.float64], c: int, node: int, stream: int, count: int
) -> NDArray[np.float64]:
    best, farther = program.spills[c, node, stream]
    machine = int(program.problem.machine_of[node])
    first, last = int(program.problem.start[machine]), int(program.problem.start[machine + 1])
    share = np.zeros(last - first)
    for other, column in farther:
        spilled = values[column] / count
        share[other - first] = spilled if spilled > 1e-9 else 0.0
    share[best - first] = max(1.0 - float(share.sum()), 0.0)
    return np.asarray(share / share.sum(), np.float64)
