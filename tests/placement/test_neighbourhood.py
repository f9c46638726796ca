"""A placement improved piece by piece."""

import numpy as np
import pytest

from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.heuristic import improve, policy_placements
from mshare_bench.placement.neighbourhood import refine, write_solution
from mshare_bench.placement.optimal import optimize, read_solution
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.program import make_program
from tests.placement.by_hand import topology, units
from tests.placement.instances import placeable


@pytest.mark.parametrize("problem", placeable(4))
def test_a_placement_survives_the_way_through_the_program(problem: Problem) -> None:
    made = improve(problem, restarts=1)
    program = make_program(problem)
    values = write_solution(program, made)
    cost = cost_of(problem, made)
    assert np.array(program.cost) @ values == pytest.approx(cost.variable, rel=1e-6, abs=1e-6 * cost.total)
    rows = program.matrix() @ values
    assert (rows >= np.array(program.low) - 1e-6).all()
    assert (rows <= np.array(program.high) + 1e-6).all()
    assert cost_of(problem, read_solution(program, values, "again")).total == pytest.approx(cost.total, rel=1e-9)


@pytest.mark.parametrize("problem", placeable(2, groups=5))
def test_pieces_lead_to_the_optimum_of_a_small_problem(problem: Problem) -> None:
    program = make_program(problem)
    before = write_solution(program, policy_placements(problem)[-1])
    best = optimize(problem)
    after = refine(program, before, 20.0, goal=best.cost.variable * (1 + 1e-6) + 1e-6 * best.cost.total)
    cost = np.array(program.cost)
    made = cost_of(problem, read_solution(program, after, "x"))
    assert made.variable == pytest.approx(cost @ after, rel=1e-5, abs=1e-6 * made.total)
    assert made.total == pytest.approx(best.cost.total, rel=1e-4)
    assert cost @ after < cost @ before


def test_a_goal_that_is_reached_already_ends_it_at_once() -> None:
    (problem,) = placeable(1, groups=5)
    program = make_program(problem)
    before = write_solution(program, policy_placements(problem)[0])
    assert refine(program, before, 20.0, goal=float(np.array(program.cost) @ before)) is before


def test_units_that_others_send_to_are_written_one_by_one() -> None:
    """A group of two that a third sends to is two classes; each is written once, wherever it sits."""
    talkers = [*units(1, cpus=1.0), *units(1, cpus=1.0)]
    demands = [
        units(1, cpus=1.0, traffic=(("pair", 5.0),))[0],
        type(talkers[0])("pair", cpus=1.0, private_bytes=1 << 20, count=2),
    ]
    problem = make_problem(topology(2), demands)
    assert len(problem.classes) == 3
    program = make_program(problem)
    for made in policy_placements(problem):
        values = write_solution(program, made)
        seated = [sum(values[column] for (c, _), column in program.seats.items() if c == one) for one in range(3)]
        assert seated == [1, 1, 1]
        assert cost_of(problem, read_solution(program, values, "x")).traffic == cost_of(problem, made).traffic
