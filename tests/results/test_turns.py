import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.results.turns import Start, blocks_of


def _starts(order: str) -> tuple[list[Start], list[Start]]:
    sides: dict[str, list[Start]] = {"a": [], "b": []}
    for when, side in enumerate(order):
        sides[side].append((len(sides[side]), when))
    return sides["a"], sides["b"]


@pytest.mark.parametrize(
    ("order", "blocks"),
    [
        ("abab", ["ab", "ab"]),
        ("abba", ["ab", "ba"]),
        ("aaabbb", ["aaabbb"]),
        ("aabbbbaa", ["aabb", "bbaa"]),
        ("aab", ["ab"]),
        ("abbb", ["ab"]),
        ("abbbaa", ["ab", "bbaa"]),
        ("", []),
    ],
)
def test_a_block_ends_where_both_ran_equally_often(order: str, blocks: list[str]) -> None:
    first, second = _starts(order)
    found = blocks_of(first, second)
    assert [len(one) for one, _ in found] == [len(block) // 2 for block in blocks]
    shown = [sorted([(first[at][1], "a") for at in one] + [(second[at][1], "b") for at in two]) for one, two in found]
    assert ["".join(side for _, side in block) for block in shown] == blocks


def test_positions_are_those_of_the_repeats_in_whatever_order_they_are_given() -> None:
    assert blocks_of([(1, 30), (0, 10)], [(0, 20), (1, 40)]) == (((1,), (0,)), ((0,), (1,)))


def test_what_one_of_them_lacks_costs_its_own_block_only() -> None:
    first, second = _starts("abbaabba")
    assert blocks_of(first, [*second[:1], *second[2:]]) == (((0,), (0,)), ((2,), (1,)), ((3,), (2,)))


def test_where_a_start_is_not_known_nothing_is_known() -> None:
    assert blocks_of([(0, 0), (1, None)], [(0, 1), (1, 3)]) == ()


@given(st.lists(st.sampled_from("ab")).map("".join))
def test_blocks_are_balanced_follow_each_other_and_hold_nothing_twice(order: str) -> None:
    first, second = _starts(order)
    end = -1
    for one, two in blocks_of(first, second):
        begun = [int(first[at][1] or 0) for at in one] + [int(second[at][1] or 0) for at in two]
        assert len(one) == len(two) > 0
        assert min(begun) > end
        end = max(begun)
        assert len(begun) <= end + 1 - min(begun)
