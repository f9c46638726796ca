"""One step of a plan: what must move does, what had better move does where it pays, and nothing else."""

import random
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mshare_bench.domain.topology import Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.migration import MigrationCosts
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.replan import Held, Horizon, Step, carry_over, changes_towards, improve_within
from mshare_bench.placement.search import choose_patterns, descend, estimate, start_state
from tests.placement.by_hand import GIB, topology, units
from tests.placement.instances import random_demands, random_topology

COSTS = MigrationCosts()
FREE = replace(COSTS, **{one.name: 0.0 for one in fields(MigrationCosts) if one.type in (float, "float")})


def scene(seed: int) -> tuple[Topology, list[Demand]]:
    rng = random.Random(seed)
    where = random_topology(rng, 4, rng.choice([1, 2]), odd=False)
    return where, [replace(one, traffic=()) for one in random_demands(rng, where, 7, cpus=0.45, memory=0.3)]


def begun(seed: int) -> tuple[Problem, Step]:
    """An epoch whose units and copies are where a placement by chance has put them, as far as CPUs go."""
    problem = make_problem(*scene(seed))
    rng = random.Random(seed)
    step = carry_over(problem, Held(), COSTS)
    names = step.held().nodes
    free = list(problem.cpu_room)
    for group in names:
        cpus = next(one.cpus for one in problem.demands if one.group == group)
        fits = [node for node, left in enumerate(free) if left >= cpus]
        assume(bool(fits))
        node = rng.choice(fits)
        free[node] -= cpus
        names[group] = (node,)
    return problem, carry_over(problem, Held(names), COSTS)


def for_ever(step: Step, seconds: float = 1e9) -> Horizon:
    things = [("group", name) for name in step.group_of] + [("domain", one.name) for one in step.problem.domains]
    return dict.fromkeys(things, seconds)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_what_has_not_changed_is_carried_over_as_it_was(seed: int) -> None:
    problem, step = begun(seed)
    assert step.forced == []
    again = carry_over(problem, step.held(), COSTS)
    assert again.forced == []
    assert again.held() == step.held()
    assert estimate(again.arrays, again.state) == estimate(step.arrays, step.state)
    assert changes_towards(step, step.state, COSTS) == []


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_where_moving_is_free_and_the_load_lasts_it_ends_where_a_search_does(seed: int) -> None:
    _, step = begun(seed)
    before = estimate(step.arrays, step.state)
    target = step.state.copy()
    wanted = descend(step.arrays, target)
    made = improve_within(step, for_ever(step), np.inf, FREE)
    after = estimate(step.arrays, step.state)
    assert after <= before
    assert after <= wanted * (1 + 1e-6)
    assert bool(made) == (wanted < before * (1 - 1e-9))


@pytest.mark.parametrize("seed", range(4))
def test_where_moving_is_free_a_small_problem_ends_at_its_optimum(seed: int) -> None:
    """Three units on three nodes: all 27 seatings are tried."""
    rng = random.Random(seed)
    where = random_topology(rng, 3, odd=False)
    demands = [replace(one, traffic=()) for one in random_demands(rng, where, 3, cpus=0.5, memory=0.2)]
    problem = make_problem(where, demands)
    step = carry_over(problem, Held({one.group: (0,) for one in demands if one.cpus <= 5}), COSTS)
    cheapest = np.inf
    for nodes in product(range(3), repeat=problem.units):
        state = start_state(step.arrays, np.array(nodes))
        for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0):
            choose_patterns(step.arrays, state, int(domain), int(machine))
        cheapest = min(cheapest, estimate(step.arrays, state))
    improve_within(step, for_ever(step), np.inf, FREE)
    assert estimate(step.arrays, step.state) == pytest.approx(cheapest, rel=1e-9)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), budget=st.floats(0, 64 * GIB))
def test_moves_keep_the_budget_and_each_pays_within_its_horizon(seed: int, budget: float) -> None:
    _, step = begun(seed)
    before, seconds = estimate(step.arrays, step.state), 600.0
    made = improve_within(step, for_ever(step, seconds), budget, COSTS)
    assert sum(one.size for one in made) <= budget
    assert all(one.advice is not None and one.advice.break_even_ns is not None for one in made)
    assert all(one.advice.break_even_ns <= seconds * 1e9 for one in made if one.advice and one.advice.break_even_ns)
    saved = before - estimate(step.arrays, step.state)
    assert saved >= 0
    if made:  # together they save more than they take
        assert saved * seconds > sum(one.cost.total for one in made)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_a_load_that_does_not_last_moves_nothing(seed: int) -> None:
    _, step = begun(seed)
    before = step.held()
    assert improve_within(step, {}, np.inf, COSTS) == []
    assert step.held() == before


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), closed=st.integers(0, 3))
def test_who_is_on_a_closed_node_leaves_it_and_nobody_else_does(seed: int, closed: int) -> None:
    problem, step = begun(seed)
    machine = int(problem.machine_of[closed])
    shut = make_problem(problem.topology, problem.demands, closed=[(machine, problem.node_id(closed))])
    there = {group for group, nodes in step.held().nodes.items() if closed in nodes}
    try:
        after = carry_over(shut, step.held(), COSTS)
    except PlacementError as error:
        assume("is left with" not in str(error))
        raise
    assert {change.name for change in after.forced} == there
    assert {change.before for change in after.forced} <= {closed}
    stayed = {group: nodes for group, nodes in step.held().nodes.items() if group not in there}
    assert {group: after.held().nodes[group] for group in stayed} == stayed
    assert not any(closed in nodes for nodes in after.held().nodes.values())
    assert (after.state.cpu_free >= -1e-6).all()


def test_what_finds_no_node_any_more_is_said_with_what_is_missing() -> None:
    """Three units of 2.6 CPUs, one on each node of 4; one node is closed, and the other two, 8 CPUs in all, hold one each."""
    demands = units(3, cpus=2.6)
    before = Held({"g0": (0,), "g1": (1,), "g2": (2,)})
    shut = make_problem(topology(1, 3), demands, closed=[(0, 4)])
    with pytest.raises(PlacementError, match=r"node=\d: machine 0 is left with 1.2 CPUs too few"):
        carry_over(shut, before, COSTS)


def test_a_move_to_another_machine_takes_the_domain_along_once() -> None:
    demands = units(2, domain="d", shared_bytes=4 * GIB, shared_share=0.5)
    before = Held({"g0": (0,), "g1": (1,)}, {("d", 0): ("node 0", "node 0")})
    gone = make_problem(topology(2), demands, closed=[(0, 0), (0, 2)])
    forced = carry_over(gone, before, COSTS).forced
    assert sorted(change.size for change in forced) == [GIB, 5 * GIB]
