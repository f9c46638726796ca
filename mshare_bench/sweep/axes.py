"""Axes of a sweep and the assignments that they make."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mshare_bench.errors import ConfigError

__all__ = ["Axis", "assignments", "join_axes"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Keys that change together.

    Attributes
    ----------
    keys
        One key; several where they are zipped.
    values
        Per position a value of every key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"{','.join(self.keys)}: this axis has no value")


def join_axes(axes: Sequence[tuple[str, tuple[Any, ...]]], zipped: Sequence[Sequence[str]] = ()) -> tuple[Axis, ...]:
    """Make the axes: one of every key, and one together of the keys that are zipped, where the first of them stands.

    Parameters
    ----------
    axes
        Keys with their values, outermost first.
    zipped
        Groups of keys.

    Raises
    ------
    ConfigError
        For a key that occurs twice, is in two groups, has no value or is no axis, and for zipped axes of unequal length.
    """
    keys = [key for key, _ in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{key}: given as an axis twice")
    values = dict(axes)
    group_of: dict[str, tuple[str, ...]] = {}
    for group in zipped:
        for key in group:
            if key not in values:
                raise ConfigError(
                    f"sweep.zip={','.join(group)}: {key} has no several values here; axes are {', '.join(keys) or 'none'}"
                )
            if key in group_of:
                raise ConfigError(f"sweep.zip={','.join(group)}: {key} is zipped twice")
            group_of[key] = tuple(group)
        lengths = {key: len(values[key]) for key in group}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{key} has {length} values" for key, length in lengths.items())
            raise ConfigError(f"sweep.zip={','.join(group)}: {shown}")
    made: dict[tuple[str, ...], Axis] = {}
    for key in keys:
        together = group_of.get(key, (key,))
        if together not in made:
            made[together] = Axis(together, tuple(zip(*(values[one] for one in together), strict=True)))
    return tuple(made.values())


def assignments(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Every combination, the last axis changing fastest; one empty assignment where there is no axis."""
    keys = [key for axis in axes for key in axis.keys]
    for row in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip(keys, itertools.chain.from_iterable(row), strict=True))
