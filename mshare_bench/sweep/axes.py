"""Axes of a sweep and the assignments that they make."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mshare_bench.errors import ConfigError

__all__ = ["Axis", "assignments", "grid"]


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


def grid(axes: Sequence[tuple[str, tuple[Any, ...]]]) -> tuple[Axis, ...]:
    """Make an axis of its own of every key.

    Raises
    ------
    ConfigError
        For a key that occurs twice, or without a value.
    """
    keys = [key for key, _ in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{key}: given as an axis twice")
    return tuple(Axis((key,), tuple((value,) for value in values)) for key, values in axes)


def assignments(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Every combination, the last axis changing fastest; one empty assignment where there is no axis."""
    keys = [key for axis in axes for key in axis.keys]
    for row in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip(keys, itertools.chain.from_iterable(row), strict=True))
