"""Axes of a sweep and the assignments that they make."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mshare_bench.errors import ConfigError

__all__ = ["Assignments", "Axis", "in_order", "join_axes"]


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


class Assignments:
    """Values for keys, many times, held as columns; iterating gives each as a mapping.

    Parameters
    ----------
    values
        By key the values that occur.
    codes
        Per key and assignment the position of its value among them; shape (keys, n).
    """

    def __init__(self, values: Mapping[str, Sequence[Any]], codes: npt.NDArray[np.int64]) -> None:
        self.values = dict(values)
        self._codes = codes
        self._place = {key: place for place, key in enumerate(self.values)}

    @classmethod
    def of_axes(cls, axes: Sequence[Axis]) -> "Assignments":
        """Every combination, the last axis changing fastest; one without a key where there is no axis."""
        lengths = [len(axis.values) for axis in axes]
        values: dict[str, tuple[Any, ...]] = {}
        codes = []
        places = np.arange(math.prod(lengths), dtype=np.int64)
        for number, axis in enumerate(axes):
            code = places // math.prod(lengths[number + 1 :]) % lengths[number]
            values |= zip(axis.keys, zip(*axis.values, strict=True), strict=True)
            codes += [code] * len(axis.keys)
        return cls(values, np.array(codes, np.int64).reshape(len(codes), len(places)))

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Assignments":
        """These, all of which have the same keys."""
        keys = tuple(rows[0]) if rows else ()
        codes = np.broadcast_to(np.arange(len(rows)), (len(keys), len(rows)))
        return cls({key: [row[key] for row in rows] for key in keys}, codes)

    def __len__(self) -> int:
        return int(self._codes.shape[1])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.at(place) for place in range(len(self)))

    def at(self, place: int, keys: Iterable[str] | None = None) -> dict[str, Any]:
        """One of them, or some of its keys."""
        wanted = self.values if keys is None else keys
        return {key: self.values[key][self._codes[self._place[key], place]] for key in wanted}

    def take(self, places: npt.NDArray[np.int64], keys: Sequence[str]) -> "Assignments":
        """Some keys of those at these places."""
        rows = np.array([self._place[key] for key in keys], np.int64)
        return Assignments({key: self.values[key] for key in keys}, self._codes[np.ix_(rows, places)])

    def beside(self, fixed: Mapping[str, Any]) -> "Assignments":
        """The same with keys that have one value each, in front of the others."""
        codes = np.concatenate([np.zeros((len(fixed), len(self)), np.int64), self._codes])
        return Assignments({**{key: (value,) for key, value in fixed.items()}, **self.values}, codes)

    def renamed(self, names: Mapping[str, str]) -> "Assignments":
        """The same under other names of keys."""
        return Assignments({names.get(key, key): values for key, values in self.values.items()}, self._codes)

    def distinct(self, keys: Iterable[str]) -> tuple[npt.NDArray[np.int64], list[int]]:
        """Tell assignments apart by some keys.

        Returns
        -------
        kinds
            Per assignment the number of its combination of values, counted in the order in which they first occur; shape (n,).
        firsts
            Where each combination first occurs.
        """
        kinds = np.zeros(len(self), np.int64)
        for key in keys:
            kinds = kinds * len(self.values[key]) + self._codes[self._place[key]]
            if kinds.size and kinds.max() >= _MANY:
                kinds = np.unique(kinds, return_inverse=True)[1]
        return in_order(kinds)


_MANY = 1 << 31
"""Codes below it can be multiplied by the length of an axis."""


def in_order(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Number codes in the order in which they first occur; where each does."""
    _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], firsts[order].tolist()
