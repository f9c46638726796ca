"""`optimal` by name: the cheapest placement, whatever it is told of page tables."""

import random

import pytest

from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.place import assign
from mshare_bench.placement.problem import make_problem
from mshare_bench.placement.registry import TableLayout, Walkers, policies, table_policies
from tests.placement.by_hand import topology, units
from tests.placement.exhaustive import cheapest
from tests.placement.instances import random_demands, random_topology


@pytest.mark.parametrize("seed", [3, 7])
def test_it_costs_what_trying_everything_finds_and_no_policy_less(seed: int) -> None:
    rng = random.Random(seed)
    where = random_topology(rng, 2)
    problem = make_problem(where, random_demands(rng, where, 3, cpus=0.5, memory=0.5))
    cost = cost_of(problem, assign(problem, "optimal", time_limit=10.0)).total
    assert cost == pytest.approx(cheapest(problem), rel=2e-6)
    for name in policies():
        for tables in table_policies():
            assert cost <= cost_of(problem, assign(problem, name, tables)).total * (1 + 2e-6)


def test_page_tables_are_chosen_along_with_the_rest_and_nobody_is_asked() -> None:
    def never(walkers: Walkers) -> TableLayout:
        raise AssertionError("asked")

    problem = make_problem(topology(), units(2, table_bytes_per_process=8192, walk_share=0.5, accesses_per_s=1e6))
    made = policies()["optimal"](problem, never, {"tables": "never"})
    assert all(seat.tables == seat.data == ((seat.node, 1.0),) for seat in made.seats)


def test_what_no_policy_can_place_is_refused() -> None:
    problem = make_problem(topology(), units(3, cpus=2.5))
    with pytest.raises(PlacementError, match="can't be divided among the nodes of t"):
        assign(problem, "optimal", time_limit=5.0)
