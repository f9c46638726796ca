"""`first_touch`: tables lie with the process that touches first, and everybody else walks from afar."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.placement.tables.walked import walked


@settings(max_examples=25)
@given(st.lists(st.floats(1e3, 1e8), min_size=2, max_size=4))
def test_common_tables_stay_with_the_toucher_whoever_walks_more(reads: list[float]) -> None:
    found = walked("first_touch", *reads)
    assert found.common == ((0, 1.0),)
    assert found.own == ((2 * (len(reads) - 1), 1.0),)
    assert not found.replicated


def test_all_walks_of_the_others_are_remote() -> None:
    one, twice = (walked("first_touch", 1e6, rate).cost.remote_walks for rate in (1e6, 2e6))
    assert twice == pytest.approx(2 * one) and one > 0
    assert walked("first_touch", 1e6).cost.remote_walks == 0
