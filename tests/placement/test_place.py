"""What holds for every policy, for groups and their data and for page tables."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.cost import cost_of, node_use
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from mshare_bench.placement.registry import policies, table_policies
from tests.placement.by_hand import nodes_of, topology, units
from tests.placement.instances import random_demands, random_topology

SIMPLE = [name for name in policies() if name != "optimal"]


def test_a_full_topology_is_said_with_what_is_left() -> None:
    crowd = [Demand("g", cpus=3.0, count=2), Demand("h", cpus=2.0)]
    with pytest.raises(PlacementError, match="placement=pack: no room for unit 1 of 1 of h .*a node has left: 1 CPUs"):
        place(topology(), crowd, "pack")


def test_overcommit_is_how_many_busy_cpus_count_as_one() -> None:
    """Two nodes of 4 CPUs: so many units that keep 2 busy find room."""
    assert len(nodes_of(place(topology(), units(8), "pack", overcommit=2.0))) == 8
    with pytest.raises(
        PlacementError, match="overcommit=1.5: the groups keep 16 CPUs busy, t has 8; 2 or more would do"
    ):
        place(topology(), units(8), "pack", overcommit=1.5)


@pytest.mark.parametrize("key", ["placement", "tables"])
def test_an_unknown_policy_is_named_with_the_known(key: str) -> None:
    names = {"placement": ("packed", "first_touch"), "tables": ("pack", "mitosis")}[key]
    with pytest.raises(ConfigError, match=f"{key}=(packed|mitosis): there is no such policy; there are"):
        place(topology(), units(1), *names)


@pytest.mark.parametrize("policy", SIMPLE)
@pytest.mark.parametrize("tables", list(table_policies()))
def test_whatever_is_placed_adds_up(policy: str, tables: str) -> None:
    placed = 0
    for seed in range(12):
        rng = random.Random(seed)
        where = random_topology(rng, 4, rng.choice([1, 2]))
        try:
            problem = make_problem(where, random_demands(rng, where, 8, cpus=0.5))
            made = assign(problem, policy, tables)
        except PlacementError:
            continue
        placed += 1
        cost = cost_of(problem, made)  # checks units, copies, shares and capacities
        assert cost.variable >= -1e-6 * cost.total
        use = node_use(problem, made)
        assert sum(row.processes for row in use) == sum(one.count * one.processes for one in problem.demands)
        private = sum(one.count * one.private_bytes for one in problem.demands)
        shared = {domain.name: domain.data for domain in problem.domains}
        assert sum(row.data_bytes for row in use) == pytest.approx(private + sum(shared[c.domain] for c in made.copies))
    assert placed >= 4


def taken(made: Assignment) -> tuple[Counter[tuple[object, ...]], object]:
    """How many units sit where and hold what there, whatever they are called; and the copies."""
    seats: Counter[tuple[object, ...]] = Counter()
    for seat in made.seats:
        seats[seat.machine, seat.node, seat.data, seat.tables, seat.replicated] += seat.count
    return seats, made.copies


@pytest.mark.parametrize("policy", SIMPLE)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tables=st.sampled_from(list(table_policies())))
def test_like_processes_are_interchangeable(policy: str, tables: str, seed: int) -> None:
    """One group of so many units, or so many groups of one, in whatever order: the same is placed."""
    rng = random.Random(seed)
    where = random_topology(rng, 4, rng.choice([1, 2]))
    kinds = [replace(one, cpus=one.cpus / 3) for one in random_demands(rng, where, 3, cpus=0.6, memory=0.3)]
    whole = [replace(one, count=3) for one in kinds]
    singles = [replace(one, group=f"{one.group}.{i}") for one in kinds for i in rng.sample(range(3), 3)]
    try:
        expected = taken(place(where, whole, policy, tables))
    except PlacementError:
        with pytest.raises(PlacementError):
            place(where, singles, policy, tables)
        return
    assert taken(place(where, singles, policy, tables)) == expected
