"""`interleave`: all data evenly over the machine's nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.cost import cost_of, node_use
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units


def test_units_go_to_the_idlest_node_and_their_data_everywhere() -> None:
    made = place(topology(2), five_unlike(), "interleave")
    assert nodes_of(made) == [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]
    assert all(seat.data == ((0, 0.5), (2, 0.5)) for seat in made.seats)


@given(nodes=st.integers(2, 6), count=st.integers(1, 12))
def test_every_node_holds_the_same_whoever_runs_where(nodes: int, count: int) -> None:
    demands = units(count, cpus=0.25, domain="d", shared_bytes=GIB)
    problem = make_problem(topology(1, nodes), demands)
    held = [row.data_bytes for row in node_use(problem, assign(problem, "interleave"))]
    assert held == pytest.approx([(count + 1) * GIB / nodes] * nodes)


def test_reads_are_as_far_from_every_node_as_the_nodes_are_on_average() -> None:
    problem = make_problem(topology(), units(2, cpus=4.0, accesses_per_s=1e6))
    penalty = problem.kinds[0].penalty
    assert cost_of(problem, assign(problem, "interleave")).remote_data == pytest.approx(2 * 1e6 * penalty[0].mean())
