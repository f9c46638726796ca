"""`replicate`: a copy on every node, as Mitosis does: no walk is remote, and every change is made in every copy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.placement.problem import Prices
from mshare_bench.validation.targets import packaged_targets
from tests.placement.tables.walked import walked


@settings(max_examples=25)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=5))
def test_no_walk_is_remote_and_tables_take_a_copy_per_node(reads: list[float]) -> None:
    found, plain = walked("replicate", *reads), walked("first_touch", *reads)
    assert found.replicated
    assert found.common == found.own == tuple((2 * i, 1.0) for i in range(len(reads)))
    assert found.cost.remote_walks == 0
    assert found.table_bytes == len(reads) * plain.table_bytes
    assert found.cost.remote_data == plain.cost.remote_data


@pytest.mark.parametrize("nodes", [2, 4])
def test_a_change_is_repeated_in_every_further_copy(nodes: int) -> None:
    """100 changes a second by each of so many processes, 30 ns in each of the other copies."""
    assert walked("replicate", *[1e6] * nodes).cost.replica_updates == pytest.approx(nodes * 100 * (nodes - 1) * 30.0)


def test_the_price_of_a_repeated_change_is_what_mitosis_measured() -> None:
    """Table 5 of Mitosis (ASPLOS'20): protecting 1,048,576 pages, cycles per page, plain and with tables on 4 nodes; 2.2 GHz."""
    (target,) = (one for one in packaged_targets() if one.id == "mitosis_vma_ops")
    plain, replicated = target.rows["protect_shared"], target.extra["replicated"]["protect_shared"]
    measured = (replicated[1 << 20] - plain[1 << 20]) / (target.extra["replicas"] - 1) / 2.2
    assert Prices().replica_update_ns == pytest.approx(measured, rel=0.02)


def test_one_node_has_nothing_to_copy_to() -> None:
    assert not walked("replicate", 1e6).replicated
