"""Sets of rows of integers that grow batch by batch: which tables would be left if equal ones were one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["DistinctRows", "first_of_each"]

_Ints = NDArray[np.int64]


def first_of_each(columns: Sequence[_Ints]) -> _Ints:
    """Give the index of one row of each kind, ordered by the columns.

    Parameters
    ----------
    columns
        Integers of equal length; rows are equal when they are in every column.
    """
    if not len(columns[0]):
        return np.empty(0, np.int64)
    key, bits = np.zeros(len(columns[0]), np.int64), 0
    for column in columns:
        low, high = int(column.min()), int(column.max())
        width = (high - low).bit_length()
        bits += width
        if bits > 62:
            break
        key = (key << width) | (column - low)
    else:
        return np.unique(key, return_index=True)[1].astype(np.int64)
    order = np.lexsort(tuple(reversed(columns)))
    first = np.ones(len(order), np.bool_)
    first[1:] = np.logical_or.reduce([column[order][1:] != column[order][:-1] for column in columns])
    chosen: _Ints = order[first]
    return chosen


class DistinctRows:
    """Distinct rows, the first column of which is an object's number.

    Parameters
    ----------
    width
        Columns.
    """

    __slots__ = ("_parts", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._parts: list[tuple[_Ints, ...]] = []

    def add(self, *columns: _Ints) -> None:
        """Add rows; those that are there already change nothing."""
        chosen = first_of_each(columns)
        if len(chosen):
            self._parts.append(tuple(column[chosen] for column in columns))

    def rows(self, same: _Ints) -> tuple[_Ints, ...]:
        """Give the distinct rows, ordered.

        Parameters
        ----------
        same
            For each number the one that stands for it (itself, unless two objects turned out to be one).
        """
        if not self._parts:
            return tuple(np.empty(0, np.int64) for _ in range(self._width))
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        columns[0] = same[columns[0]]
        chosen = first_of_each(columns)
        return tuple(column[chosen] for column in columns)

    def counts(self, same: _Ints) -> _Ints:
        """Count distinct rows by object; shape (len(same),)."""
        return np.bincount(self.rows(same)[0], minlength=len(same))
