"""`spread`: the idlest node next; private data there, shared data over all nodes."""

from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.cost import node_use
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units


def test_units_go_to_every_node_once_before_any_twice_with_private_data_beside() -> None:
    made = place(topology(2), five_unlike(), "spread")
    assert nodes_of(made) == [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]
    assert all(seat.data == ((seat.node, 1.0),) for seat in made.seats)


@given(busy=st.lists(st.integers(1, 8), min_size=4, max_size=12))
def test_no_node_is_busier_than_another_by_more_than_one_unit(busy: list[int]) -> None:
    demands = [Demand(f"g{i}", cpus=tenths / 10) for i, tenths in enumerate(busy)]
    problem = make_problem(topology(1, 4), demands)
    loads = [row.cpus for row in node_use(problem, assign(problem, "spread"))]
    assert len(loads) == 4
    assert max(loads) - min(loads) <= max(busy) / 10 + 1e-9


def test_shared_data_lies_evenly_on_every_machine_that_has_sharers() -> None:
    made = place(topology(2), units(4, domain="d", shared_bytes=4 * GIB), "spread")
    assert [(copy.machine, copy.data) for copy in made.copies] == [(m, ((0, 0.5), (2, 0.5))) for m in (0, 1)]
