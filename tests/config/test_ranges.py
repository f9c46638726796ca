"""Ranges as an axis."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.config.ranges import MOST_VALUES, expand_range, with_ranges
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1..10000*10", (1, 10, 100, 1000, 10_000)),
        ("1..9999*10", (1, 10, 100, 1000)),
        ("1..10*1.5", (1, 2, 3, 5, 8)),
        ("1MiB..16MiB*4", (1 << 20, 1 << 22, 1 << 24)),
        ("0..2MiB+1MiB", (0, 1 << 20, 2 << 20)),
        ("0..1+0.25", (0, 0.25, 0.5, 0.75, 1)),
        ("5..5+1", (5,)),
    ],
)
def test_ranges(text: str, values: tuple[int | float, ...]) -> None:
    found = expand_range("key", text)
    assert found == values
    assert found is not None and [type(one) for one in found] == [type(one) for one in values]


@pytest.mark.parametrize("value", ["1GiB", "a..b", "../x*y", "1..", "shmem", 3, None, 1.5, "1.5", "/a/1..2*3"])
def test_what_is_no_range(value: object) -> None:
    assert expand_range("key", value) is None


@pytest.mark.parametrize("text", ["9..1*2", "0..5*2", "1..5*1", "1..5+0", "1..5*x", "1q..5*2", f"0..{MOST_VALUES}+1"])
def test_what_leads_nowhere(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand_range("key", text)
    assert str(caught.value).startswith(f"key={text}")


def test_ranges_stand_among_values() -> None:
    assert with_ranges("key", ["a", "1..4*2", 9]) == ("a", 1, 2, 4, 9)


@given(st.integers(1, 1000), st.integers(0, 100_000), st.integers(2, 20))
def test_geometric_ranges_ascend_within_their_ends(start: int, more: int, factor: int) -> None:
    found = expand_range("key", f"{start}..{start + more}*{factor}")
    assert found is not None
    assert found[0] == start and found[-1] <= start + more < found[-1] * factor
    assert all(isinstance(one, int) and right == one * factor for one, right in itertools.pairwise(found))
