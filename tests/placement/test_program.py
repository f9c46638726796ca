"""The placement problem as a program: its optimum is the cheapest placement, its rows are the limits."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment, DomainCopy, Seat, Shares
from mshare_bench.placement.cost import cost_of, fixed_cost
from mshare_bench.placement.neighbourhood import write_solution
from mshare_bench.placement.optimal import solve_program
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.program import Program, make_program
from tests.placement.by_hand import GIB, topology, units
from tests.placement.exhaustive import cheapest
from tests.placement.instances import random_demands, random_topology


def tiny(seed: int, machines: int = 1) -> Problem:
    rng = random.Random(seed)
    where = random_topology(rng, 2, machines)
    return make_problem(where, random_demands(rng, where, 3, cpus=0.5, memory=0.5, traffic=0.5 * (machines > 1)))


def solved(program: Program) -> float:
    values = solve_program(program, 10.0, 1e-6).values
    return np.inf if values is None else float(np.array(program.cost) @ values)


@pytest.mark.parametrize(("seed", "machines"), [(1, 1), (3, 1), (5, 2)])
def test_its_optimum_is_what_trying_everything_finds_whichever_way_it_is_written(seed: int, machines: int) -> None:
    problem = tiny(seed, machines)
    best = cheapest(problem) - fixed_cost(problem)
    exact = {"rel": 2e-6, "abs": 2e-6 * fixed_cost(problem)}
    assert solved(make_program(problem)) == pytest.approx(best, **exact)
    assert solved(make_program(problem, ordered=True)) == pytest.approx(best, **exact)
    assert solved(make_program(problem, near=0)) <= best + 2e-6 * fixed_cost(problem)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_limit_below_the_optimum_leaves_nothing(seed: int) -> None:
    problem = tiny(seed)
    best = solved(make_program(problem))
    for factor, found in ((0.9, False), (1.1, True)):
        program = make_program(problem)
        program.limit(best * factor - (0 if found else 1e3))
        assert np.isfinite(solved(program)) == found


def whole_on(node: int) -> Shares:
    return ((2 * (node % 2), 1.0),)


@settings(max_examples=60)
@given(
    nodes=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    home=st.integers(0, 3),
    gib=st.integers(1, 16),
)
def test_rows_hold_exactly_where_a_placement_keeps_the_limits(nodes: list[int], home: int, gib: int) -> None:
    """Three units of 2 of a node's 4 CPUs and 3 of its 16 GiB, and a domain whole on one node of each machine."""
    shared = {"domain": "d", "shared_bytes": gib * GIB, "shared_share": 0.5, "accesses_per_s": 1e6}
    problem = make_problem(topology(2), units(3, private_bytes=3 * GIB, **shared))
    program = make_program(problem)
    seats = tuple(Seat(i, f"g{i}", 1, n // 2, 2 * (n % 2), whole_on(n), whole_on(n)) for i, n in enumerate(nodes))
    copies = tuple(DomainCopy("d", m, whole_on(home), whole_on(home)) for m in sorted({n // 2 for n in nodes}))
    made = Assignment(seats, copies, "x", "x")
    values = write_solution(program, made)
    rows = program.matrix() @ values
    kept = (rows >= np.array(program.low) - 1e-6).all() and (rows <= np.array(program.high) + 1e-6).all()
    try:
        cost = cost_of(problem, made)
    except PlacementError:
        cost = None
    assert kept == (cost is not None)
    if cost is not None:
        assert np.array(program.cost) @ values == pytest.approx(cost.variable, rel=1e-9, abs=1e-6 * cost.total)
