import contextlib
import os
import random
from dataclasses import replace

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.optimal import approximate, lower_bound, optimize
from mshare_bench.placement.place import assign
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.placement.registry import policies, table_policies
from tests.placement.exhaustive import cheapest
from tests.placement.instances import GIB, random_demands, random_topology

FULL = bool(os.environ.get("MSHARE_BENCH_FULL"))
"""All 200 and 500 instances; otherwise the first few of them."""


def tiny(seed: int) -> Problem | None:
    """At most six groups on at most three nodes, in one machine or in several; tight in memory every other time."""
    rng = random.Random(seed)
    nodes = rng.choice([2, 3])
    machines = nodes if rng.random() < 0.25 else 1
    topology = random_topology(rng, nodes, machines)
    groups = rng.randint(2, 6 if machines == 1 else 5)
    tight = 0.9 if seed % 2 else 0.5
    demands = random_demands(rng, topology, groups, cpus=0.6, memory=tight, traffic=0.3 if machines > 1 else 0.0)
    try:
        return make_problem(topology, demands)
    except PlacementError:
        return None


@pytest.mark.parametrize("block", range(20 if FULL else 2))
def test_the_optimum_is_what_trying_everything_finds(block: int) -> None:
    compared = 0
    for seed in range(1000 * block, 1000 * block + 100):
        problem = tiny(seed)
        if problem is None:
            continue
        best = cheapest(problem)
        if best == float("inf"):
            with pytest.raises(PlacementError):
                optimize(problem)
        else:
            found = optimize(problem)
            assert found.proven, seed
            assert found.cost.total == pytest.approx(best, rel=2e-6), seed
            compared += 1
        if compared == 10:
            return
    raise AssertionError(f"only {compared} of 10 instances had a placement")


@pytest.mark.parametrize("block", range(20 if FULL else 2))
def test_the_optimum_is_never_worse_than_any_policy(block: int) -> None:
    compared = 0
    for seed in range(10_000 + 1000 * block, 10_000 + 1000 * block + 100):
        rng = random.Random(seed)
        machines = rng.choice([1, 1, 2])
        topology = random_topology(rng, rng.choice([2, 4]), machines)
        demands = random_demands(rng, topology, rng.randint(2, 8), memory=rng.uniform(0.4, 0.9), traffic=0.2)
        costs = {}
        try:
            problem = make_problem(topology, demands)
        except PlacementError:
            continue
        for policy in policies():
            for tables in table_policies() if policy != "optimal" else ():
                with contextlib.suppress(PlacementError):
                    costs[policy, tables] = cost_of(problem, assign(problem, policy, tables)).total
        if costs:
            best = optimize(problem, time_limit=20)
            assert all(best.cost.total <= cost * (1 + 2e-6) for cost in costs.values()), (seed, best.cost.total, costs)
            compared += 1
        if compared == (25 if FULL else 10):
            return
    raise AssertionError(f"only {compared} instances had a placement")


def two_nodes(memory: int = 64 * GIB, machines: int = 1) -> Topology:
    nodes = (Node(0, tuple(range(8)), memory, 0), Node(1, tuple(range(8, 16)), memory, 1))
    machine = Machine("m", nodes, ((10, 20), (20, 10)), ((100.0, 160.0), (160.0, 100.0)))
    return Topology("t", (MachineCohort(machine, machines),), Network(1e9, 0) if machines > 1 else None)


def test_sharers_sit_together_when_they_fit() -> None:
    sharers = [Demand(f"g{i}", 1, 2.0, GIB, 0, "d", 8 * GIB, 0, 0, 1e8, 0.1, 0.9) for i in range(4)]
    found = optimize(make_problem(two_nodes(), sharers))
    assert len({seat.node for seat in found.assignment.seats}) == 1
    assert found.cost.variable == pytest.approx(0, abs=1)
    assert found.gap == found.strict_gap == 0


def test_splitting_a_domain_over_machines_costs_a_copy_and_is_avoided() -> None:
    sharers = [Demand(f"g{i}", 1, 2.0, 0, 0, "d", 32 * GIB, 64 << 20, 0, 1e6, 0.1, 0.9) for i in range(6)]
    together = optimize(make_problem(two_nodes(machines=2), sharers))
    assert len(together.assignment.machines()) == len(together.assignment.copies) == 1
    too_many = [replace(one, cpus=4.0) for one in sharers]
    problem = make_problem(two_nodes(machines=2), too_many)
    split = optimize(problem)
    assert len(split.assignment.copies) == 2
    copy = problem.memory_price() * (32 * GIB + (64 << 20))
    assert split.cost.memory - split.cost.fixed >= copy * (1 - 1e-9)


@pytest.mark.parametrize("pairs", ["abcd", "acbd", "adbc"])
def test_traffic_brings_groups_to_one_machine(pairs: str) -> None:
    friend = {pairs[0]: pairs[1], pairs[2]: pairs[3]}
    talkers = [Demand(name, cpus=8.0, traffic=((friend[name], 1e9),) if name in friend else ()) for name in "abcd"]
    found = optimize(make_problem(two_nodes(machines=2), talkers))
    machine = {seat.group: seat.machine for seat in found.assignment.seats}
    assert all(machine[one] == machine[other] for one, other in friend.items())
    assert found.cost.traffic == 0


def test_replicas_pay_for_walks_and_not_for_updates() -> None:
    def demands(updates: float) -> list[Demand]:
        return [Demand(f"g{i}", 1, 8.0, 0, 0, "d", GIB, 2 << 20, updates, 1e8, 0.5, 1.0) for i in range(2)]

    walked = optimize(make_problem(two_nodes(), demands(0)))
    assert walked.assignment.copies[0].replicated
    assert walked.cost.remote_walks == 0
    updated = optimize(make_problem(two_nodes(), demands(1e9)))
    assert not updated.assignment.copies[0].replicated


def test_like_groups_are_one_class_and_come_back_by_name() -> None:
    crowd = [Demand(f"g{i}", 2, 0.5, GIB, accesses_per_s=1e6, count=2) for i in range(10)]
    problem = make_problem(two_nodes(), crowd)
    assert len(problem.classes) == 1
    seats = optimize(problem).assignment.seats
    assert {name: sum(s.count for s in seats if s.group == name) for name in {s.group for s in seats}} == {
        f"g{i}": 2 for i in range(10)
    }


def test_data_spills_when_it_must_and_the_coldest_goes() -> None:
    hot = Demand("hot", 1, 1.0, 48 * GIB, accesses_per_s=1e9)
    cold = Demand("cold", 1, 1.0, 48 * GIB, accesses_per_s=1e5)
    machine = Machine(
        "m",
        (Node(0, tuple(range(4)), 64 * GIB), Node(1, (), 64 * GIB, kind="cxl")),
        ((10, 20), (20, 10)),
        ((100.0, 200.0), (200.0, 100.0)),
    )
    found = optimize(make_problem(Topology("t", (MachineCohort(machine),)), [hot, cold]))
    shares = {seat.group: dict(seat.data) for seat in found.assignment.seats}
    assert shares["hot"] == {0: 1.0}
    assert shares["cold"][1] == pytest.approx(32 / 48)


@pytest.mark.parametrize("seed", [0, 3])
def test_what_is_too_large_is_approximated_with_a_bound(seed: int) -> None:
    rng = random.Random(seed)
    topology = random_topology(rng, 4, 2, odd=False)
    problem = make_problem(topology, random_demands(rng, topology, 10, cpus=0.5, traffic=0.3))
    best, near = optimize(problem), approximate(problem, time_limit=4.0, gap=0.01)
    assert near.method == "neighbourhoods"
    assert near.bound <= best.cost.total * (1 + 1e-9)
    assert best.cost.total * (1 - 2e-6) <= near.cost.total <= best.cost.total * 1.05
    assert near.proven == (near.gap <= 0.01)


def test_data_spills_as_far_as_it_must() -> None:
    """One unit fills five nodes: the smaller program, which knows the two nearest others only, can't hold it."""
    sizes = (8, 8, 8, 2, 8)
    nodes = tuple(Node(i, () if i else (0,), size * GIB) for i, size in enumerate(sizes))
    latency = ((100.0, 150.0, 200.0, 300.0, 500.0), *((None,) * 5 for _ in range(4)))
    distances = tuple(tuple(10 if i == j else 20 for j in range(5)) for i in range(5))
    where = Topology("t", (MachineCohort(Machine("m", nodes, distances, latency)),))
    problem = make_problem(where, [Demand("g", private_bytes=30 * GIB, accesses_per_s=30.0)])
    found = optimize(problem)
    shares = {0: 8 / 30, 1: 8 / 30, 2: 8 / 30, 3: 2 / 30, 4: 4 / 30}
    assert dict(found.assignment.seats[0].data) == pytest.approx(shares, rel=1e-4)
    assert found.cost.remote_data == pytest.approx(8 * 50 + 8 * 100 + 2 * 200 + 4 * 400, rel=1e-4)
    assert found.proven


def test_what_cannot_be_cut_to_fit_is_refused() -> None:
    with pytest.raises(
        PlacementError, match="the 3 units \\(15 CPUs, 0 B\\) can't be divided among the nodes of t \\(16 CPUs"
    ):
        optimize(make_problem(two_nodes(), [Demand("g", cpus=5.0, count=3)]))


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_is_below_every_placement(seed: int) -> None:
    rng = random.Random(seed)
    topology = random_topology(rng, 4)
    problem = make_problem(topology, random_demands(rng, topology, 6, cpus=0.4))
    found = optimize(problem)
    assert lower_bound(problem, 10.0) <= found.cost.variable * (1 + 1e-6) + 1
    assert found.bound <= found.cost.total * (1 + 1e-9)
