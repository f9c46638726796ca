"""Every policy for groups and their data, and for page tables, on machines small enough to reckon by hand."""

import random

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.cost import cost_of, node_use
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from mshare_bench.placement.registry import policies, table_policies
from tests.placement.instances import random_demands, random_topology

GIB = 1 << 30
SIMPLE = [name for name in policies() if name != "optimal"]


def machine(*memory: int, cpus: int = 4) -> Machine:
    nodes = tuple(Node(2 * i, tuple(range(cpus * i, cpus * i + cpus)), size) for i, size in enumerate(memory))
    rows = [[10 + 10 * abs(i - j) for j in range(len(memory))] for i in range(len(memory))]
    return Machine("m", nodes, tuple(map(tuple, rows)))


def topology(machines: int = 1, nodes: int = 2) -> Topology:
    network = Network(1e9, 0) if machines > 1 else None
    return Topology("t", (MachineCohort(machine(*[16 * GIB] * nodes), machines),), network)


def nodes_of(assignment: Assignment) -> list[tuple[int, int]]:
    return [(seat.machine, seat.node) for seat in assignment.seats for _ in range(seat.count)]


def units(count: int, **fields: object) -> list[Demand]:
    return [Demand(f"g{i}", **({"cpus": 2.0, "private_bytes": GIB} | fields)) for i in range(count)]  # type: ignore[arg-type]


def test_all_policies_are_there() -> None:
    assert list(policies()) == [
        "bind",
        "first_touch",
        "interleave",
        "local",
        "optimal",
        "pack",
        "round_robin",
        "spread",
    ]
    assert list(table_policies()) == ["first_touch", "follow_majority", "interleave", "replicate"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("pack", [(0, 0), (0, 0), (0, 2), (0, 2), (1, 0)]),
        ("bind", [(0, 0), (0, 0), (0, 2), (0, 2), (1, 0)]),
        ("spread", [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]),
        ("first_touch", [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]),
        ("interleave", [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]),
        ("round_robin", [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]),
        ("local", [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]),
    ],
)
def test_where_units_without_shared_memory_go(policy: str, expected: list[tuple[int, int]]) -> None:
    distinct = [Demand(f"g{i}", cpus=2.0, private_bytes=GIB + i) for i in range(5)]
    made = place(topology(2), distinct, policy)
    assert nodes_of(made) == expected
    private = {"interleave": ((0, 0.5), (2, 0.5))}
    for seat in made.seats:
        assert seat.data == private.get(policy, ((seat.node, 1.0),))


@pytest.mark.parametrize(
    ("policy", "machines_used", "data"),
    [
        ("pack", [0], ((0, 1.0),)),
        ("local", [0], ((0, 1.0),)),
        ("first_touch", [0, 1], ((0, 1.0),)),
        ("spread", [0, 1], ((0, 0.5), (2, 0.5))),
        ("interleave", [0, 1], ((0, 0.5), (2, 0.5))),
    ],
)
def test_where_shared_data_goes_and_who_pays_for_a_second_copy(
    policy: str, machines_used: list[int], data: object
) -> None:
    problem = make_problem(topology(2), units(4, domain="d", shared_bytes=4 * GIB, shared_share=0.5))
    made = assign(problem, policy)
    assert [copy.machine for copy in made.copies] == machines_used
    assert all(copy.data == data for copy in made.copies)
    extra = cost_of(problem, made).memory - cost_of(problem, made).fixed
    assert extra == pytest.approx((len(machines_used) - 1) * 4 * GIB * problem.memory_price())


def test_local_seats_sharers_beside_their_domain_before_anywhere_else() -> None:
    made = place(topology(1, 3), units(3, domain="d", shared_bytes=GIB, shared_share=0.5), "local")
    assert nodes_of(made) == [(0, 0), (0, 0), (0, 2)]


@pytest.mark.parametrize(
    ("tables", "own", "common", "replicated"),
    [
        ("first_touch", ((2, 1.0),), ((0, 1.0),), False),
        ("interleave", ((0, 0.5), (2, 0.5)), ((0, 0.5), (2, 0.5)), False),
        ("replicate", ((0, 1.0), (2, 1.0)), ((0, 1.0), (2, 1.0)), True),
        ("follow_majority", ((2, 1.0),), ((2, 1.0),), False),
    ],
)
def test_where_page_tables_go(tables: str, own: object, common: object, replicated: bool) -> None:
    """The toucher sits on node 0, twice as many walks come from node 2; the second unit's own tables are looked at."""
    shared = {"domain": "d", "shared_bytes": GIB, "shared_table_bytes": 2 << 20, "table_bytes_per_process": 8 << 10}
    rates = {"walk_share": 0.5, "shared_share": 0.5}
    pair = [
        Demand("toucher", cpus=4.0, accesses_per_s=1e6, **shared, **rates),  # type: ignore[arg-type]
        Demand("walker", cpus=4.0, accesses_per_s=2e6, **shared, **rates),  # type: ignore[arg-type]
    ]
    made = place(topology(), pair, "pack", tables)
    seat = next(seat for seat in made.seats if seat.group == "walker")
    (copy,) = made.copies
    assert (seat.node, seat.tables, seat.replicated) == (2, own, replicated)
    assert (copy.tables, copy.replicated) == (common, replicated)
    assert copy.data == ((0, 1.0),)


def test_private_data_spills_to_the_nearest_node() -> None:
    three = Topology("t", (MachineCohort(machine(4 * GIB, 4 * GIB, 16 * GIB)),))
    made = place(three, [Demand("g", private_bytes=10 * GIB)], "pack")
    assert made.seats[0].data == ((0, 0.4), (2, 0.4), (4, pytest.approx(0.2)))


def test_interleaved_data_levels_over_what_is_left() -> None:
    three = Topology("t", (MachineCohort(machine(2 * GIB, 16 * GIB, 16 * GIB)),))
    made = place(three, [Demand("g", private_bytes=12 * GIB)], "interleave")
    assert dict(made.seats[0].data) == {0: pytest.approx(2 / 12), 2: pytest.approx(5 / 12), 4: pytest.approx(5 / 12)}


def test_shared_data_that_fits_no_node_whole_is_spread() -> None:
    made = place(topology(), units(1, domain="d", shared_bytes=20 * GIB), "pack")
    assert made.copies[0].data == ((0, 0.5), (2, 0.5))


def test_bind_keeps_to_its_nodes() -> None:
    made = place(topology(2), units(2), "bind", nodes=[(1, 2), (0, 0)])
    assert nodes_of(made) == [(1, 2), (1, 2)]
    with pytest.raises(PlacementError, match="placement.nodes=0:1: m has the nodes 0, 2"):
        place(topology(), units(1), "bind", nodes=[(0, 1)])
    with pytest.raises(PlacementError, match="placement.nodes=5:0: topology t has machines 0 to 1"):
        place(topology(2), units(1), "bind", nodes=[(5, 0)])
    with pytest.raises(PlacementError, match="placement=bind: no room for unit 1 of 1 of g0 .*20 GiB"):
        place(topology(), units(1, private_bytes=20 * GIB), "bind", nodes=[(0, 0)])


def test_a_full_topology_is_said_with_what_is_left() -> None:
    crowd = [Demand("g", cpus=3.0, count=2), Demand("h", cpus=2.0)]
    with pytest.raises(PlacementError, match="placement=pack: no room for unit 1 of 1 of h .*a node has left: 1 CPUs"):
        place(topology(), crowd, "pack")


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
