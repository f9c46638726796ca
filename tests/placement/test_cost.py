from dataclasses import replace

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment, DomainCopy, Seat
from mshare_bench.placement.cost import cost_of, node_use
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.problem import Prices, Problem, make_problem

GIB = 1 << 30
MIB = 1 << 20


def problem(machines: int = 1, **changes: object) -> Problem:
    """Two nodes, 100 ns and 160 ns; two readers of a 4 GiB domain with common tables; a byte costs 2 ns per second."""
    nodes = (Node(0, (0, 1, 2, 3), 16 * GIB), Node(4, (4, 5, 6, 7), 16 * GIB))
    machine = Machine("m", nodes, ((10, 20), (20, 10)), ((100.0, 160.0), (160.0, 100.0)))
    network = Network(1e9, 0) if machines > 1 else None
    one = Demand(
        "g", 2, 2.0, GIB, MIB, "d", 4 * GIB, 8 * MIB, 100.0, accesses_per_s=1e6, walk_share=0.25, shared_share=0.5
    )
    one = replace(one, **changes)  # type: ignore[arg-type]
    demands = [one, replace(one, group="h", traffic=(("g", 1000.0),))]
    return make_problem(Topology("t", (MachineCohort(machine, machines),), network), demands, prices=Prices(2.0))


def assignment(**changes: object) -> Assignment:
    """Unit g on node 0 with all its bytes, h on node 4 with a quarter of its data on node 0; the domain on node 0."""
    seats = (
        Seat(0, "g", 1, 0, 0, ((0, 1.0),), ((0, 1.0),)),
        Seat(1, "h", 1, 0, 4, ((0, 0.25), (4, 0.75)), ((0, 1.0),)),
    )
    copies = (DomainCopy("d", 0, ((0, 1.0),), ((0, 1.0),)),)
    fields: dict[str, object] = {"seats": seats, "copies": copies, "policy": "hand", "tables": "hand"}
    return Assignment(**(fields | changes))  # type: ignore[arg-type]


def test_the_terms_are_what_one_reckons_by_hand() -> None:
    cost = cost_of(problem(), assignment())
    held = 2 * GIB + 4 * MIB + 4 * GIB + 8 * MIB
    assert cost.memory == cost.fixed == pytest.approx(2.0 * held)
    # h: 375,000 reads a second of private data, a quarter of them 60 ns longer, and 375,000 of shared data, all of them.
    assert cost.remote_data == pytest.approx(60 * (375_000 * 0.25 + 375_000))
    # Its walks: 125,000 of its own tables and as many of the common ones, all remote.
    assert cost.remote_walks == pytest.approx(60 * 250_000)
    assert cost.replica_updates == cost.traffic == 0
    assert cost.total == pytest.approx(cost.memory + cost.remote_data + cost.remote_walks)
    assert cost.variable == pytest.approx(cost.remote_data + cost.remote_walks)


def test_replicated_tables_are_near_to_all_and_cost_memory_and_updates() -> None:
    copies = (DomainCopy("d", 0, ((0, 1.0),), ((0, 1.0), (4, 1.0)), replicated=True),)
    plain, copied = cost_of(problem(), assignment()), cost_of(problem(), assignment(copies=copies))
    change = copied.minus(plain)
    assert change.remote_walks == pytest.approx(-60 * 125_000)
    assert change.memory == pytest.approx(2.0 * 8 * MIB)
    assert change.replica_updates == pytest.approx(2 * 100.0 * 30.0)
    assert change.remote_data == 0


def test_walks_of_shared_memory_go_to_own_tables_where_there_are_no_common_ones() -> None:
    without = problem(shared_table_bytes=0)
    cost = cost_of(without, assignment())
    assert cost.remote_walks == pytest.approx(60 * 250_000)
    near = tuple(replace(seat, tables=((seat.node, 1.0),)) for seat in assignment().seats)
    assert cost_of(without, assignment(seats=near)).remote_walks == 0


def test_machines_apart_cost_a_copy_and_traffic() -> None:
    far = (assignment().seats[0], replace(assignment().seats[1], machine=1))
    copies = (assignment().copies[0], replace(assignment().copies[0], machine=1))
    cost = cost_of(problem(2), assignment(seats=far, copies=copies))
    assert cost.memory - cost.fixed == pytest.approx(2.0 * (4 * GIB + 8 * MIB))
    assert cost.traffic == pytest.approx(1000.0 * 1.0)


def test_what_every_node_holds_and_runs() -> None:
    rows = {(row.machine, row.node): row for row in node_use(problem(), assignment())}
    assert rows[0, 0].processes == rows[0, 4].processes == 2
    assert rows[0, 0].data_bytes == pytest.approx(GIB + 0.25 * GIB + 4 * GIB)
    assert rows[0, 4].data_bytes == pytest.approx(0.75 * GIB)
    assert rows[0, 0].page_table_bytes == pytest.approx(4 * MIB + 8 * MIB)
    assert rows[0, 4].page_table_bytes == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"seats": assignment().seats[:1]}, "groups.h.count=1: 0 units were placed"),
        ({"copies": ()}, "copies \\[\\] do not match"),
        ({"copies": (assignment().copies[0],) * 2}, "do not match"),
        ({"copies": (replace(assignment().copies[0], data=((0, 0.5),)),)}, "must be positive and add up to 1"),
    ],
)
def test_an_assignment_of_another_problem_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(PlacementError, match=complaint):
        cost_of(problem(), assignment(**changes))


def test_an_assignment_over_a_nodes_capacity_is_refused() -> None:
    same = tuple(replace(seat, node=0) for seat in assignment().seats)
    with pytest.raises(PlacementError, match="node=0: machine 0 would keep 6 CPUs busy"):
        cost_of(problem(cpus=3.0), assignment(seats=same))
    with pytest.raises(PlacementError, match="node=0: machine 0 would hold 1[0-9.]+ GiB there, it has 16 GiB"):
        cost_of(problem(shared_bytes=15 * GIB), assignment())
