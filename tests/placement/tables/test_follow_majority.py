"""`follow_majority`: common tables lie where most walks come from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.placement.problem import make_problem
from mshare_bench.placement.registry import Walkers, table_policies
from tests.placement.by_hand import topology, units
from tests.placement.tables.walked import walked


def test_tables_move_from_the_toucher_to_who_walks_more() -> None:
    assert walked("follow_majority", 1e6, 2e6).common == ((2, 1.0),)
    assert walked("follow_majority", 2e6, 1e6).common == ((0, 1.0),)
    assert walked("follow_majority", 1e6, 2e6).own == ((2, 1.0),)


@settings(max_examples=25)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=2))
def test_of_two_nodes_it_is_never_worse_than_first_touch(reads: list[float]) -> None:
    """Of more it can be: the node with most walks may be far from all the others."""
    follow, first = walked("follow_majority", *reads).cost, walked("first_touch", *reads).cost
    assert follow.remote_walks == pytest.approx(
        min(first.remote_walks, walked("first_touch", *reads[::-1]).cost.remote_walks)
    )
    assert follow.memory == first.memory


def test_where_nobody_walks_tables_stay_with_the_toucher() -> None:
    kind = make_problem(topology(), units(1)).kinds[0]
    layout = table_policies()["follow_majority"](Walkers(kind, 1, kind.cpus * 0))
    assert (layout.prefer, layout.interleave, layout.replicate) == (1, False, False)
