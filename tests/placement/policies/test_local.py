"""`local`: sharers sit together, as near to their data as there is room."""

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Node, Topology
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units


def test_without_shared_memory_units_go_to_the_idlest_node() -> None:
    made = place(topology(2), five_unlike(), "local")
    assert nodes_of(made) == [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]
    assert all(seat.data == ((seat.node, 1.0),) for seat in made.seats)


def test_sharers_sit_beside_their_domain_before_anywhere_else() -> None:
    made = place(topology(1, 3), units(3, domain="d", shared_bytes=GIB, shared_share=0.5), "local")
    assert nodes_of(made) == [(0, 0), (0, 0), (0, 2)]


def test_each_domain_has_a_node_and_no_read_goes_far() -> None:
    reads = {"cpus": 2.0, "shared_bytes": GIB, "shared_share": 1.0, "accesses_per_s": 1e6}
    demands = [Demand(f"{domain}{i}", domain=domain, **reads) for i in range(2) for domain in "xy"]  # type: ignore[arg-type]
    problem = make_problem(topology(), demands)
    made = assign(problem, "local")
    assert {seat.group[0]: seat.node for seat in made.seats} == {"x": 0, "y": 2}
    assert cost_of(problem, made).remote_data == 0


def test_who_finds_no_room_there_goes_to_the_nearest_by_latency_not_by_number() -> None:
    nodes = tuple(Node(i, (2 * i, 2 * i + 1), 16 * GIB) for i in range(3))
    latency = ((100.0, 300.0, 150.0), (300.0, 100.0, 300.0), (150.0, 300.0, 100.0))
    where = Topology("t", (MachineCohort(Machine("m", nodes, ((10, 20, 20), (20, 10, 20), (20, 20, 10)), latency)),))
    made = place(where, units(2, domain="d", shared_bytes=GIB, shared_share=0.5), "local")
    assert nodes_of(made) == [(0, 0), (0, 2)]


def test_sharers_that_fit_one_machine_have_one_copy() -> None:
    made = place(topology(2), units(4, domain="d", shared_bytes=4 * GIB), "local")
    assert [(copy.machine, copy.data) for copy in made.copies] == [(0, ((0, 1.0),))]


def test_data_lies_where_the_first_sharer_runs() -> None:
    problem = make_problem(topology(1, 3), units(3, domain="d", shared_bytes=GIB, shared_share=1.0, accesses_per_s=1e6))
    # Two beside the data, and one on the next node.
    assert cost_of(problem, assign(problem, "local")).remote_data == pytest.approx(1e6 * problem.kinds[0].penalty[1, 0])
