import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Node, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.heuristic import improve, policy_placements
from mshare_bench.placement.problem import Problem, make_problem
from tests.placement.instances import placeable


@pytest.mark.parametrize("problem", placeable(6))
def test_the_heuristic_keeps_all_limits_and_beats_every_policy(problem: Problem) -> None:
    found = cost_of(problem, improve(problem, restarts=2))
    assert found.total <= cost_of(problem, policy_placements(problem)[0]).total * (1 + 1e-9)


def test_the_heuristic_is_the_same_for_the_same_seed() -> None:
    (problem,) = placeable(1)
    assert improve(problem, restarts=3, seed=5) == improve(problem, restarts=3, seed=5)


def test_no_room_is_said() -> None:
    three = [Demand("g", cpus=float(2 * size), count=1) for size in (3, 3, 3)]
    nodes = (Node(0, tuple(range(9)), 1 << 30), Node(1, tuple(range(9, 18)), 1 << 30))
    machine = Machine("m", nodes, ((10, 20), (20, 10)))
    problem = make_problem(Topology("t", (MachineCohort(machine),)), three)
    with pytest.raises(PlacementError, match="placement=optimal: no policy finds room for 3 units on t"):
        improve(problem)
