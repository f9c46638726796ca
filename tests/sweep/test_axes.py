"""Axes and the assignments that they make."""

import numpy as np
import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sweep.axes import Assignments, in_order, join_axes

AXES = [("a", (1, 2)), ("b", ("x", "y")), ("c", (5,))]


def test_every_combination_the_last_axis_fastest() -> None:
    rows = list(Assignments.of_axes(join_axes(AXES)))
    assert rows == [{"a": a, "b": b, "c": 5} for a in (1, 2) for b in ("x", "y")]


def test_no_axis_is_one_assignment() -> None:
    assert list(Assignments.of_axes(join_axes([]))) == [{}]


def test_zipped_keys_change_together() -> None:
    rows = list(Assignments.of_axes(join_axes(AXES, [["b", "a"]])))
    assert rows == [{"a": 1, "b": "x", "c": 5}, {"a": 2, "b": "y", "c": 5}]


def test_rows_are_given_back_as_they_were() -> None:
    rows = [{"a": 1, "b": [2]}, {"a": 1, "b": "x"}]
    assert list(Assignments.of_rows(rows)) == rows


def test_kinds_are_told_apart_by_the_keys_asked_for_and_counted_as_they_come() -> None:
    given = Assignments.of_axes(join_axes([("a", (3, 1)), ("b", ("x", "y")), ("c", (5, 5))]))
    kinds, firsts = given.distinct(("b",))
    assert kinds.tolist() == [0, 0, 1, 1] * 2 and firsts == [0, 2]
    assert [given.at(first, ("b",)) for first in firsts] == [{"b": "x"}, {"b": "y"}]
    kinds, firsts = given.distinct(("a", "b"))
    assert kinds.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and firsts == [0, 2, 4, 6]
    assert given.distinct(())[0].tolist() == [0] * 8


def test_more_combinations_than_an_integer_holds_are_told_apart() -> None:
    keys, length = [f"k{number}" for number in range(12)], 1000
    rows = [{key: (number * (place + 1)) % length for place, key in enumerate(keys)} for number in range(length)]
    kinds, firsts = Assignments.of_rows(rows).distinct(keys)
    assert kinds.tolist() == firsts == list(range(length))


def test_codes_are_numbered_as_they_first_occur() -> None:
    numbers, firsts = in_order(np.array([7, 2, 7, 9, 2]))
    assert (numbers.tolist(), firsts) == ([0, 1, 0, 2, 1], [0, 1, 3])


def test_fixed_keys_stand_in_front_and_keys_can_be_renamed() -> None:
    given = Assignments.of_axes(join_axes([("a", (1, 2))])).beside({"f": 0}).renamed({"a": "b"})
    assert list(given) == [{"f": 0, "b": 1}, {"f": 0, "b": 2}]
    assert list(given.take(np.array([1]), ("b",))) == [{"b": 2}]


@pytest.mark.parametrize(
    ("axes", "zipped", "named"),
    [
        (AXES, [["a", "c"]], ("a has 2 values", "c has 1 values")),
        (AXES, [["a", "d"]], ("d ", "a, b, c")),
        (AXES, [["a", "b"], ["b", "c"]], ("b is zipped twice",)),
        ([*AXES, ("a", (3,))], [], ("a: given as an axis twice",)),
        ([("a", ())], [], ("a: this axis has no value",)),
    ],
)
def test_what_makes_no_axes(
    axes: list[tuple[str, tuple[object, ...]]], zipped: list[list[str]], named: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        join_axes(axes, zipped)
    assert all(part in str(caught.value) for part in named)
