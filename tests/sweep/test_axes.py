"""Axes and the assignments that they make."""

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sweep.axes import assignments, join_axes

AXES = [("a", (1, 2)), ("b", ("x", "y")), ("c", (5,))]


def test_every_combination_the_last_axis_fastest() -> None:
    rows = list(assignments(join_axes(AXES)))
    assert rows == [{"a": a, "b": b, "c": 5} for a in (1, 2) for b in ("x", "y")]


def test_no_axis_is_one_assignment() -> None:
    assert list(assignments(join_axes([]))) == [{}]


def test_zipped_keys_change_together() -> None:
    rows = list(assignments(join_axes(AXES, [["b", "a"]])))
    assert rows == [{"a": 1, "b": "x", "c": 5}, {"a": 2, "b": "y", "c": 5}]


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
