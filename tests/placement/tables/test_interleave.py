"""`interleave`: tables evenly over the nodes, so that of n nodes' walks all but one n-th leave the node."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.placement.tables.walked import walked


@settings(max_examples=25)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=5))
def test_every_node_holds_the_same_share_of_own_and_common_tables(reads: list[float]) -> None:
    found, each = walked("interleave", *reads), 1 / len(reads)
    for where in (found.common, found.own):
        assert where == tuple((2 * i, pytest.approx(each)) for i in range(len(reads)))
    assert not found.replicated
    assert found.table_bytes == pytest.approx(walked("first_touch", *reads).table_bytes)


@settings(max_examples=25)
@given(st.floats(1e3, 1e8), st.floats(1e3, 1e8))
def test_on_two_nodes_half_of_all_walks_are_remote(one: float, other: float) -> None:
    # Were all tables with the toucher, the other's walks of common tables, half of its walks, would be the remote ones.
    remote = walked("first_touch", one, other).cost.remote_walks / (other / 2 * 0.5)
    assert walked("interleave", one, other).cost.remote_walks == pytest.approx(remote * (one + other) / 2 * 0.5)
