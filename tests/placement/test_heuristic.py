import random

import numpy as np
import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Node, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.heuristic import improve, lay_out, policy_placements
from mshare_bench.placement.neighbourhood import refine, write_solution
from mshare_bench.placement.optimal import optimize, read_solution
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.program import make_program
from mshare_bench.placement.search import descend, estimate, make_arrays, start_state
from tests.placement.instances import random_demands, random_topology


def problems(count: int, groups: int = 10, memory: float = 0.6) -> list[Problem]:
    found: list[Problem] = []
    seed = 0
    while len(found) < count:
        rng = random.Random(seed)
        topology = random_topology(rng, 4, 1 + seed % 2)
        seed += 1
        try:
            problem = make_problem(
                topology, random_demands(rng, topology, groups, cpus=0.5, memory=memory, traffic=0.3)
            )
            if policy_placements(problem):
                found.append(problem)
        except PlacementError:
            continue
    return found


@pytest.mark.parametrize("problem", problems(6))
def test_the_heuristic_keeps_all_limits_and_beats_every_policy(problem: Problem) -> None:
    found = cost_of(problem, improve(problem, restarts=2))
    assert found.total <= cost_of(problem, policy_placements(problem)[0]).total * (1 + 1e-9)


def test_the_heuristic_is_the_same_for_the_same_seed() -> None:
    (problem,) = problems(1)
    assert improve(problem, restarts=3, seed=5) == improve(problem, restarts=3, seed=5)


@pytest.mark.parametrize("problem", problems(4, memory=0.3))
def test_the_searchs_estimate_is_the_cost_where_nothing_spills(problem: Problem) -> None:
    arrays = make_arrays(problem)
    rng = np.random.default_rng(0)
    nodes = rng.choice(np.flatnonzero(problem.cpu_room), problem.units)
    state = start_state(arrays, nodes)
    before = estimate(arrays, state)
    assert descend(arrays, state) <= before
    if (state.held <= problem.memory_room).all() and (state.cpu_free >= 0).all():
        made = lay_out(problem, arrays, state)
        assert made is not None
        cost = cost_of(problem, made)
        private = sum(one.count * (one.private_bytes + one.table_bytes) for one in problem.classes)
        assert estimate(arrays, state) == pytest.approx(cost.total - problem.memory_price() * private, rel=1e-6)


@pytest.mark.parametrize("problem", problems(4))
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


@pytest.mark.parametrize("problem", problems(2, groups=5))
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


def test_a_start_over_capacity_is_repaired() -> None:
    (problem,) = problems(1)
    arrays = make_arrays(problem)
    busiest = int(problem.cpu_room.argmax())
    state = start_state(arrays, np.full(problem.units, busiest))
    assert (state.cpu_free < 0).any()
    assert lay_out(problem, arrays, state) is None
    descend(arrays, state)
    assert (state.cpu_free >= -1e-6).all()
    assert lay_out(problem, arrays, state) is not None


def test_no_room_is_said() -> None:
    three = [Demand("g", cpus=float(2 * size), count=1) for size in (3, 3, 3)]
    nodes = (Node(0, tuple(range(9)), 1 << 30), Node(1, tuple(range(9, 18)), 1 << 30))
    machine = Machine("m", nodes, ((10, 20), (20, 10)))
    problem = make_problem(Topology("t", (MachineCohort(machine),)), three)
    with pytest.raises(PlacementError, match="placement=optimal: no policy finds room for 3 units on t"):
        improve(problem)
