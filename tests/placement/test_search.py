"""Local search: what it reckons is what it costs, it never makes a placement dearer, and nothing is left to be had."""

import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.heuristic import lay_out
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.search import (
    Arrays,
    State,
    choose_patterns,
    descend,
    estimate,
    hold,
    make_arrays,
    relocate,
    start_state,
)
from tests.placement.instances import placeable, random_demands, random_topology


@pytest.mark.parametrize("problem", placeable(4, memory=0.3))
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


def test_a_start_over_capacity_is_repaired() -> None:
    (problem,) = placeable(1)
    arrays = make_arrays(problem)
    busiest = int(problem.cpu_room.argmax())
    state = start_state(arrays, np.full(problem.units, busiest))
    assert (state.cpu_free < 0).any()
    assert lay_out(problem, arrays, state) is None
    descend(arrays, state)
    assert (state.cpu_free >= -1e-6).all()
    assert lay_out(problem, arrays, state) is not None


def some_problem(seed: int, *, groups: int = 6, shared: bool = True, memory: float = 0.3) -> Problem:
    rng = random.Random(seed)
    where = random_topology(rng, 4, rng.choice([1, 2]))
    demands = random_demands(rng, where, groups, cpus=0.5, memory=memory, traffic=0.3 * shared)
    if not shared:
        alone = {"domain": None, "shared_bytes": 0, "shared_table_bytes": 0, "shared_share": 0.0, "traffic": ()}
        demands = [replace(one, **alone) for one in demands]  # type: ignore[arg-type]
    try:
        return make_problem(where, demands)
    except PlacementError:
        assume(False)
        raise


def some_state(problem: Problem, seed: int) -> tuple[Arrays, State]:
    arrays = make_arrays(problem)
    nodes = np.random.default_rng(seed).choice(np.flatnonzero(problem.cpu_room), problem.units)
    return arrays, start_state(arrays, nodes)


def check_books(arrays: Arrays, state: State) -> None:
    """What is free and held on every node, counted anew from who sits where and which copies there are."""
    problem = arrays.problem
    free, held = problem.cpu_room.copy(), np.zeros(len(problem.cpu_room))
    sharers = set()
    for unit, node in enumerate(state.node):
        free[node] -= arrays.cpus[unit]
        held[arrays.home[arrays.class_of[unit], node]] += arrays.size[unit]
        if arrays.domain_of[unit] >= 0:
            sharers.add((int(arrays.domain_of[unit]), int(problem.machine_of[node])))
    copies = {(int(d), int(m)) for d, m in np.argwhere(state.chosen[:, :, 0] >= 0)}
    assert copies == sharers
    for domain, machine in copies:
        data, tables = (arrays.patterns[machine][i][state.chosen[domain, machine, i]].share for i in (0, 1))
        nodes = slice(int(problem.start[machine]), int(problem.start[machine + 1]))
        held[nodes] += data * problem.domains[domain].data + tables * problem.domains[domain].tables
    assert state.cpu_free == pytest.approx(free, abs=1e-6)
    assert state.held == pytest.approx(held, rel=1e-9, abs=1.0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_the_books_are_right_after_any_moves_and_after_a_search(seed: int) -> None:
    problem = some_problem(seed)
    arrays, state = some_state(problem, seed)
    rng = random.Random(seed)
    for _ in range(10):
        relocate(arrays, state, rng.randrange(problem.units), rng.choice(list(np.flatnonzero(problem.cpu_room))))
        check_books(arrays, state)
    before = estimate(arrays, state)
    assert descend(arrays, state) <= before
    check_books(arrays, state)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_where_a_search_ends_no_single_move_gains(seed: int) -> None:
    problem = some_problem(seed, shared=False, memory=0.2)
    arrays, state = some_state(problem, seed)
    found = descend(arrays, state)
    for unit, node in product(range(problem.units), np.flatnonzero(problem.cpu_room)):
        if state.cpu_free[node] >= arrays.cpus[unit]:
            trial = state.copy()
            relocate(arrays, trial, unit, int(node))
            assert estimate(arrays, trial) >= found * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_from_every_start_together_it_finds_what_trying_everything_finds(seed: int) -> None:
    rng = random.Random(seed)
    where = random_topology(rng, 3)
    problem = make_problem(where, random_demands(rng, where, 4, cpus=0.5, memory=0.3))
    arrays = make_arrays(problem)
    places = np.flatnonzero(problem.cpu_room)
    cheapest, reached = np.inf, np.inf
    for nodes in product(places, repeat=problem.units):
        state = start_state(arrays, np.array(nodes))
        for row in np.argwhere(state.chosen[:, :, 0] >= 0):
            choose_patterns(arrays, state, int(row[0]), int(row[1]))
        cheapest = min(cheapest, estimate(arrays, state))
        if len(set(nodes)) == 1:
            reached = min(reached, descend(arrays, state))
    assert reached == pytest.approx(cheapest, rel=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_what_may_not_move_and_what_is_kept_stays(seed: int) -> None:
    problem = some_problem(seed)
    arrays, state = some_state(problem, seed)
    movable = np.random.default_rng(seed).random(problem.units) < 0.5
    kept = {(int(d), int(m)) for d, m in np.argwhere(state.chosen[:, :, 0] >= 0)}
    before = state.copy()
    descend(arrays, state, movable, kept)
    assert (state.node == before.node)[~movable].all()
    for domain, machine in kept:
        if state.chosen[domain, machine, 0] >= 0:  # else its last sharer has left
            assert (state.chosen[domain, machine] == before.chosen[domain, machine]).all()


def test_holding_and_letting_go_are_opposites() -> None:
    arrays, state = some_state(placeable(1)[0], 0)
    before = state.held.copy()
    domain, machine = (int(one) for one in np.argwhere(state.chosen[:, :, 0] >= 0)[0])
    hold(arrays, state, domain, machine, 1.0)
    assert state.held.sum() > before.sum()
    hold(arrays, state, domain, machine, -1.0)
    assert state.held == pytest.approx(before)
