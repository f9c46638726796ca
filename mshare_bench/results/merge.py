"""Many sources, one table: of every cell and repeat the latest rows count, in an order that depends on the rows alone."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mshare_bench.results.columns import codes, empty, indices, numbers, positions
from mshare_bench.results.savings import with_savings
from mshare_bench.results.schema import schema

__all__ = ["Merge", "Source", "latest"]

_ORDER = ("workload", "region_bytes", "processes", "mechanism", "variant", "engine", "cell", "repeat")
_COLUMNS_AT_ONCE = (
    4  # bounds what is unpacked twice at a time, as it lies in the sources and in order; more are slower, too
)


class Source(Protocol):
    """Where tables come from: a part, or the table files."""

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Rows of a table, or some of its columns; None where there are none."""


class Merge:
    """Sources as one, later ones replacing the rows that earlier ones have for the same cell and repeat.

    Parameters
    ----------
    sources
        Each has `cells` if it has any table but `environments`.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        parts = [one.table("cells", _ORDER) for one in sources]
        counts = [0 if part is None else part.num_rows for part in parts]
        cells = pa.concat_tables([empty(schema("cells")).select(_ORDER), *(part for part in parts if part is not None)])
        key, self._ids, self._repeats = _keys(cells)
        last = latest(key)
        order = _sorted(cells.take(indices(last)))
        self._key, self._rows = key[last], last[order]
        self._rank = np.full(len(last), -1, np.int64)
        self._rank[order] = np.arange(len(order))
        self._origin = np.repeat(np.arange(len(sources)), counts)[last]

    def table(self, name: str) -> pa.Table:
        """Rows of a table. Any number of threads may ask.

        Cells are sorted by what they are (workload, size, processes, mechanism, ...) and by `cell` and `repeat`; the long tables
        follow that order; the savings are filled.
        """
        if name == "cells":
            found = with_savings(_gathered(self._sources, name, self._rows))
        elif name == "environments":
            found = _environments(self._sources)
        else:
            found = _gathered(self._sources, name, self._follow(name))
        return found.combine_chunks()

    def _follow(self, name: str) -> npt.NDArray[np.int64]:
        """Positions of the rows of a long table whose cell and repeat were kept from the same source, in the cells' order."""
        parts = [one.table(name, ("cell", "repeat")) for one in self._sources]
        having = [(index, part) for index, part in enumerate(parts) if part is not None]
        if not having or not len(self._key):
            return np.empty(0, np.int64)
        table = pa.concat_tables([part for _, part in having])
        source = np.repeat([index for index, _ in having], [part.num_rows for _, part in having])
        code, repeat = positions(table["cell"], self._ids), numbers(table["repeat"])
        row_key = np.where((code >= 0) & (repeat < self._repeats), code * self._repeats + repeat, -1)
        at = np.minimum(np.searchsorted(self._key, row_key), len(self._key) - 1)
        rows = np.flatnonzero((self._key[at] == row_key) & (self._origin[at] == source))
        return rows[np.argsort(self._rank[at[rows]], kind="stable")]


def _gathered(sources: Sequence[Source], name: str, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Rows of a table by their position in all sources together."""
    fields, taken, at = schema(name), [], indices(rows)
    for start in range(0, len(fields) if len(rows) else 0, _COLUMNS_AT_ONCE):
        some = fields.names[start : start + _COLUMNS_AT_ONCE]
        parts = [part for one in sources if (part := one.table(name, some)) is not None]
        taken += pa.concat_tables(parts).take(at).columns
    return pa.Table.from_arrays(taken, schema=fields) if taken else empty(fields)


def latest(key: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Positions of the last occurrence of every key, in order of the keys."""
    _, backwards = np.unique(key[::-1], return_index=True)
    return np.asarray(len(key) - 1 - backwards)


def _keys(cells: pa.Table) -> tuple[npt.NDArray[Any], pa.Array, int]:
    ids = cells["cell"].unique()
    repeat = numbers(cells["repeat"])
    repeats = int(repeat.max(initial=0)) + 1
    return positions(cells["cell"], ids) * repeats + repeat, ids, repeats


def _sorted(cells: pa.Table) -> npt.NDArray[Any]:
    columns = []
    for name in reversed(_ORDER):
        column = cells[name]
        if pa.types.is_string(column.type):
            code, values = codes(column)
            ranks = np.empty(len(values) + 1, np.int64)
            ranks[-1] = -1
            ranks[np.array(sorted(range(len(values)), key=lambda one: values[one] or ""), np.int64)] = np.arange(
                len(values)
            )
            columns.append(ranks[code])
        else:
            columns.append(numbers(column))
    return np.asarray(np.lexsort(columns)) if cells.num_rows else np.empty(0, np.int64)


def _environments(sources: Sequence[Source]) -> pa.Table:
    having = [part for one in sources if (part := one.table("environments")) is not None]
    table = pa.concat_tables([empty(schema("environments")), *having])
    rows = zip(*(table[name].to_pylist() for name in ("env", "machine", "key")), range(table.num_rows), strict=True)
    seen = {(env or "", machine or "", key or ""): index for env, machine, key, index in rows}
    return table.take(indices(np.array([seen[one] for one in sorted(seen)], np.int64)))
