import random
from dataclasses import replace

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.epochs import Epoch, Plan, compare_strategies, plan_epochs
from mshare_bench.placement.problem import make_problem
from tests.placement.instances import GIB, random_demands, random_topology


def topology(machines: int = 1, cpus: int = 8) -> Topology:
    nodes = tuple(Node(i, tuple(range(cpus * i, cpus * i + cpus)), 64 * GIB, i) for i in range(2))
    machine = Machine("m", nodes, ((10, 20), (20, 10)), ((100.0, 160.0), (160.0, 100.0)))
    return Topology("t", (MachineCohort(machine, machines),), Network(3e9, 10_000) if machines > 1 else None)


def where(plan: Plan, epoch: int) -> dict[str, tuple[int, int]]:
    return {seat.group: (seat.machine, seat.node) for seat in plan.assignments[epoch].seats}


A = Demand("a", 1, 6.0, 8 * GIB, accesses_per_s=1e8, domain="d", shared_bytes=8 * GIB, shared_share=0.9)
B = replace(A, group="b")


def crowded(seconds: float) -> list[Epoch]:
    """A and b share a domain but do not fit on one node; then a shrinks, so that both would."""
    return [Epoch(10.0, (A, B)), Epoch(seconds, (replace(A, cpus=2.0), B))]


def test_a_move_is_made_when_the_load_lasts_and_not_when_it_is_short() -> None:
    for seconds, moves in ((0.001, 0), (600.0, 1)):
        plan = plan_epochs(topology(), crowded(seconds), "planned")
        assert len(plan.migrations) == moves
    (row,) = plan.migrations
    assert (row.epoch, row.what, row.from_machine, row.to_machine, row.advice) == (1, "group", 0, 0, "move")
    assert row.bytes == 8 * GIB
    assert row.break_even_ns is not None
    assert 0 < row.break_even_ns < 600e9
    assert "pays after" in row.reason
    assert len({node for _, node in where(plan, 1).values()}) == 1


def test_greedy_moves_although_it_does_not_pay_and_never_does_not() -> None:
    plans = compare_strategies(topology(), crowded(0.001))
    assert len(plans["greedy"].migrations) == 1
    assert plans["never"].migrations == ()
    assert plans["planned"].total_ns == plans["never"].total_ns < plans["greedy"].total_ns


def test_the_budget_is_kept() -> None:
    assert plan_epochs(topology(), crowded(600.0), "planned", budget_bytes=4 * GIB).migrations == ()
    assert len(plan_epochs(topology(), crowded(600.0), "planned", budget_bytes=8 * GIB).migrations) == 1


@pytest.mark.parametrize("strategy", ["never", "greedy", "planned"])
def test_a_drained_node_is_left_and_the_reason_is_said(strategy: str) -> None:
    apart = [replace(A, cpus=3.0), replace(B, cpus=3.0, domain=None, shared_bytes=0, shared_share=0.0)]
    start = plan_epochs(topology(), [Epoch(10, tuple(apart))], "never")
    node = where(start, 0)["a"][1]
    plan = plan_epochs(topology(), [Epoch(10, tuple(apart)), Epoch(10, tuple(apart), drained=((0, node),))], strategy)  # type: ignore[arg-type]
    assert where(plan, 1)["a"] == (0, 1 - node)
    assert f"move: node {node} of machine 0 is drained" in {row.reason for row in plan.migrations if row.group == "a"}


def test_a_machine_that_dies_is_left_for_another() -> None:
    alone = (replace(A, cpus=4.0),)
    start = plan_epochs(topology(2), [Epoch(10, alone)], "never")
    machine = where(start, 0)["a"][0]
    plan = plan_epochs(topology(2), [Epoch(10, alone), Epoch(10, alone, dead=(machine,))], "never")
    assert where(plan, 1)["a"][0] == 1 - machine
    (row,) = plan.migrations
    assert row.reason == f"move: machine {machine} is down"
    assert row.bytes == 16 * GIB  # its own data, and the domain's, of which there is no copy yet
    assert row.cost_ns >= 16 * GIB / 3e9 * 1e9


def test_a_move_has_to_pay_before_machines_change() -> None:
    """The load would last for an hour, but the nodes that are there do not."""
    _, short = crowded(0.001)
    spare = topology(2)
    later = Epoch(3600.0, short.demands, drained=((1, 1),))
    start = [Epoch(10.0, crowded(1.0)[0].demands, drained=((1, 0), (1, 1)))]
    plan = plan_epochs(spare, [*start, replace(short, drained=((1, 0), (1, 1))), later], "planned")
    assert not [row for row in plan.migrations if row.epoch == 1]
    assert [row.epoch for row in plan.migrations if row.what == "group"] == [2]


def test_a_domains_copy_goes_along_once() -> None:
    both = (replace(A, cpus=2.0), replace(B, cpus=2.0))
    start = plan_epochs(topology(2), [Epoch(10, both)], "never")
    (machine,) = {machine for machine, _ in where(start, 0).values()}
    plan = plan_epochs(topology(2), [Epoch(10, both), Epoch(10, both, dead=(machine,))], "never")
    assert sorted(row.bytes for row in plan.migrations) == [8 * GIB, 16 * GIB]


def test_groups_arrive_and_leave_without_being_moved() -> None:
    epochs = [
        Epoch(10, (A,)),
        Epoch(10, (A, replace(B, domain=None, shared_bytes=0, shared_share=0.0))),
        Epoch(10, (A,)),
    ]
    plan = plan_epochs(topology(), epochs, "never")
    assert plan.migrations == ()
    assert where(plan, 0)["a"] == where(plan, 1)["a"] == where(plan, 2)["a"]
    assert set(where(plan, 1)) == {"a", "b"}


def test_tables_are_replicated_when_readers_spread() -> None:
    near = Demand(
        "a",
        1,
        4.0,
        domain="d",
        shared_bytes=GIB,
        shared_table_bytes=64 << 20,
        accesses_per_s=1e6,
        walk_share=0.5,
        shared_share=1.0,
    )
    far = replace(near, group="b", cpus=6.0, accesses_per_s=1e8)
    plan = plan_epochs(topology(), [Epoch(10, (near,)), Epoch(3600, (near, far))], "planned")
    rows = {row.what: row for row in plan.migrations}
    assert {what: row.advice for what, row in rows.items()} == {"tables": "replicate", "data": "move"}
    assert rows["tables"].reason.startswith("replicate: replicating the tables of d costs")
    assert rows["data"].reason.startswith("move: moving the data of d costs")
    assert plan.assignments[1].copies[0].replicated


def test_no_room_names_the_epoch() -> None:
    with pytest.raises(PlacementError, match="epoch 1: overcommit=1: the groups keep 12 CPUs busy, t has 8"):
        plan_epochs(topology(), [Epoch(1, (A, B)), Epoch(1, (A, B), drained=((0, 1),))])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Epoch(0, (A,)), "epochs.seconds=0"),
        (lambda: Epoch(1, (A, A)), "epochs.groups=a: occurs twice"),
        (lambda: plan_epochs(topology(), []), "nothing to plan"),
        (lambda: plan_epochs(topology(), [Epoch(1, (A,))], "sometimes"), "strategy=sometimes"),  # type: ignore[arg-type]
    ],
)
def test_impossible_plans_are_refused(make: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_is_never_dearer_than_not_moving_and_its_sums_are_right(seed: int) -> None:
    rng = random.Random(seed)
    where_to = random_topology(rng, 4, 2, odd=False)
    everything = random_demands(rng, where_to, 9, cpus=0.45, memory=0.35, traffic=0.2)
    everything = [replace(one, traffic=()) for one in everything]
    epochs = []
    for _ in range(4):
        present = tuple(
            replace(one, accesses_per_s=one.accesses_per_s * rng.choice([0.2, 1, 3]))
            for one in everything
            if rng.random() < 0.8
        )
        epochs.append(Epoch(rng.choice([1.0, 60.0, 3600.0]), present or (everything[0],)))
    plans = compare_strategies(where_to, epochs)
    assert plans["planned"].total_ns <= plans["never"].total_ns
    for plan in plans.values():
        assert plan.moving_ns == pytest.approx(sum(row.cost_ns for row in plan.migrations))
        running = 0.0
        for epoch, assignment in zip(epochs, plan.assignments, strict=True):
            running += cost_of(make_problem(where_to, epoch.demands), assignment).total * epoch.seconds
        assert plan.running_ns == pytest.approx(running)
