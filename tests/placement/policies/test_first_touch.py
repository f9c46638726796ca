"""`first_touch`: what a kernel does unasked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units


def test_units_go_to_the_idlest_node_with_data_beside() -> None:
    made = place(topology(2), five_unlike(), "first_touch")
    assert nodes_of(made) == [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]
    assert all(seat.data == ((seat.node, 1.0),) for seat in made.seats)


@given(nodes=st.integers(2, 6))
def test_shared_data_all_lies_with_its_first_toucher_however_many_run_elsewhere(nodes: int) -> None:
    """So of n sharers on n nodes all but one read it from afar: what a kernel does with a buffer pool."""
    sharers = units(
        nodes, cpus=4.0, private_bytes=0, domain="d", shared_bytes=GIB, shared_share=1.0, accesses_per_s=1e6
    )
    problem = make_problem(topology(1, nodes), sharers)
    made = assign(problem, "first_touch")
    assert len(set(nodes_of(made))) == nodes
    (copy,) = made.copies
    assert copy.data == ((nodes_of(made)[0][1], 1.0),)
    far = sum(float(problem.kinds[0].penalty[i, 0]) for i in range(1, nodes))
    assert cost_of(problem, made).remote_data == pytest.approx(far * 1e6)


def test_a_machine_more_is_a_copy_more() -> None:
    problem = make_problem(topology(2), units(4, domain="d", shared_bytes=4 * GIB))
    cost = cost_of(problem, assign(problem, "first_touch"))
    assert cost.memory - cost.fixed == pytest.approx(4 * GIB * problem.memory_price())
