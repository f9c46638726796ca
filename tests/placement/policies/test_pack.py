"""`pack`: the first node that has room."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.cost import node_use
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units


def test_nodes_are_filled_one_after_the_other_with_data_beside() -> None:
    made = place(topology(2), five_unlike(), "pack")
    assert nodes_of(made) == [(0, 0), (0, 0), (0, 2), (0, 2), (1, 0)]
    assert all(seat.data == ((seat.node, 1.0),) for seat in made.seats)


@given(busy=st.integers(1, 4), count=st.integers(1, 16))
def test_like_units_take_as_few_nodes_as_can_be(busy: int, count: int) -> None:
    each = 4 // busy
    if count > 4 * each:
        count = 4 * each
    problem = make_problem(topology(2), units(count, cpus=float(busy), private_bytes=0))
    assert len(node_use(problem, assign(problem, "pack"))) == math.ceil(count / each)


def test_sharers_that_fit_one_machine_have_one_copy() -> None:
    problem = make_problem(topology(2), units(4, domain="d", shared_bytes=4 * GIB, shared_share=0.5))
    made = assign(problem, "pack")
    assert [(copy.machine, copy.data) for copy in made.copies] == [(0, ((0, 1.0),))]
