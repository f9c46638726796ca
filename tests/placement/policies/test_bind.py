"""`bind`: named nodes, in the order named, and nothing beyond them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import node_use
from mshare_bench.placement.place import assign, place
from mshare_bench.placement.policies.bind import nodes_of as numbered
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, five_unlike, nodes_of, topology, units

NODES = [(0, 0), (0, 2), (1, 0), (1, 2)]


def test_units_fill_the_named_nodes_in_their_order() -> None:
    assert nodes_of(place(topology(2), units(2), "bind", nodes=[(1, 2), (0, 0)])) == [(1, 2), (1, 2)]
    assert nodes_of(place(topology(2), five_unlike(), "bind")) == [(0, 0), (0, 0), (0, 2), (0, 2), (1, 0)]


@given(
    order=st.permutations(NODES),
    count=st.integers(1, 4),
    tables=st.sampled_from(["first_touch", "interleave", "follow_majority"]),
)
def test_nothing_lies_or_runs_beyond_them(order: Sequence[tuple[int, int]], count: int, tables: str) -> None:
    named = order[:count]
    problem = make_problem(topology(2), units(2 * len(named), domain="d", shared_bytes=GIB, shared_table_bytes=2 << 20))
    made = assign(problem, "bind", tables, nodes=named)
    held = {(row.machine, row.node) for row in node_use(problem, made) if row.data_bytes or row.cpus}
    assert held <= set(named)


def test_nodes_are_numbered_as_the_problem_has_them() -> None:
    problem = make_problem(topology(2), units(1))
    assert numbered(problem, [(1, 2), (0, 0)]) == [3, 0]
    assert numbered(problem, None) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("machines", "nodes", "said"),
    [
        (1, [(0, 1)], "placement.nodes=0:1: m has the nodes 0, 2"),
        (2, [(5, 0)], "placement.nodes=5:0: topology t has machines 0 to 1"),
    ],
)
def test_a_node_that_is_none_is_named(machines: int, nodes: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(PlacementError, match=said):
        place(topology(machines), units(1), "bind", nodes=nodes)


def test_what_does_not_fit_them_does_not_spill() -> None:
    with pytest.raises(PlacementError, match="placement=bind: no room for unit 1 of 1 of g0 .*20 GiB"):
        place(topology(), units(1, private_bytes=20 * GIB), "bind", nodes=[(0, 0)])
