"""Sets of rows of integers that grow batch by batch: which tables would be left if equal ones were one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["DistinctRows", "distinct"]

_Ints = NDArray[np.int64]

# Up to so many bits, a flag for each possible row is quicker than a sort.
_BITMAP = 21


def distinct(columns: Sequence[_Ints]) -> list[_Ints]:
    """Give one row of each kind, ordered by the columns.

    Parameters
    ----------
    columns
        Integers of equal length; rows are equal when they are in every column.
    """
    if not len(columns[0]):
        return list(columns)
    lows = [int(column.min()) for column in columns]
    widths = [(int(column.max()) - low).bit_length() for column, low in zip(columns, lows, strict=True)]
    if sum(widths) <= 62:
        # All columns in one integer, and back.
        key = np.zeros(len(columns[0]), np.int64)
        for column, low, width in zip(columns, lows, widths, strict=True):
            key <<= width
            key |= column - low
        if sum(widths) <= _BITMAP:
            seen = np.zeros(1 << sum(widths), np.bool_)
            seen[key] = True
            key = np.flatnonzero(seen)
        else:
            key.sort()
            key = key[_first((key,))]
        rows = []
        for low, width in zip(reversed(lows), reversed(widths), strict=True):
            rows.append((key & (1 << width) - 1) + low)
            key = key >> width
        return rows[::-1]
    order = np.lexsort(tuple(reversed(columns)))
    chosen = order[_first([column[order] for column in columns])]
    return [column[chosen] for column in columns]


def _first(columns: Sequence[_Ints]) -> NDArray[np.bool_]:
    first = np.zeros(len(columns[0]), np.bool_)
    first[:1] = True
    for column in columns:
        first[1:] |= column[1:] != column[:-1]
    return first


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
        self._parts: list[list[_Ints]] = []

    def add(self, *columns: _Ints) -> None:
        """Add rows; those that are there already change nothing."""
        if len(columns[0]):
            self._parts.append(distinct(columns))

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
        kept = np.array_equal(same[columns[0]], columns[0])
        columns[0] = same[columns[0]]
        # One batch, and no object turned out to be another: they are distinct already.
        return tuple(columns if kept and len(self._parts) == 1 else distinct(columns))

    def counts(self, same: _Ints) -> _Ints:
        """Count distinct rows by object; shape (len(same),)."""
        return np.bincount(self.rows(same)[0], minlength=len(same))
