"""Many sources, one table: of every cell and repeat the latest rows count, in an order that depends on the rows alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mshare_bench.results.columns import codes, empty, indices, numbers
from mshare_bench.results.savings import with_savings
from mshare_bench.results.schema import TABLES, schema

__all__ = ["Source", "latest", "merged"]

_ORDER = ("workload", "region_bytes", "processes", "mechanism", "variant", "engine", "cell", "repeat")
_COLUMNS_AT_ONCE = 16  # bounds what is unpacked twice at a time: as it lies in the sources, and in order


class Source(Protocol):
    """Where tables come from: a part, or the table files."""

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Rows of a table, or some of its columns; None where there are none."""


def merged(sources: Sequence[Source], names: Sequence[str] = TABLES) -> Iterator[tuple[str, pa.Table]]:
    """Merge sources, later ones replacing the rows that earlier ones have for the same cell and repeat.

    Parameters
    ----------
    sources
        Each has `cells` if it has any table but `environments`.
    names
        The tables wanted.

    Yields
    ------
    tuple
        A table's name and its rows. Cells are sorted by what they are (workload, size, processes, mechanism, ...) and by `cell`
        and `repeat`; the long tables follow that order; the savings are filled. Tables without rows are left out.
    """
    parts = [one.table("cells", _ORDER) for one in sources]
    counts = [0 if part is None else part.num_rows for part in parts]
    cells = pa.concat_tables([empty(schema("cells")).select(_ORDER), *(part for part in parts if part is not None)])
    key, ids, repeats = _keys(cells)
    last = latest(key)
    order = _sorted(cells.take(indices(last)))
    rank = np.full(len(last), -1, np.int64)
    rank[order] = np.arange(len(order))
    origin = np.repeat(np.arange(len(sources)), counts)[last]
    for name in names:
        if name == "cells":
            table = with_savings(_gathered(sources, name, last[order]))
        elif name == "environments":
            table = _environments(sources)
        else:
            table = _gathered(sources, name, _follow(sources, name, (key[last], rank, origin), (ids, repeats)))
        if table.num_rows:
            yield name, table.combine_chunks()


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


def _keys(cells: pa.Table) -> tuple[npt.NDArray[Any], dict[str | None, int], int]:
    code, values = codes(cells["cell"])
    repeat = numbers(cells["repeat"])
    repeats = int(repeat.max(initial=0)) + 1
    return code.astype(np.int64) * repeats + repeat, {value: index for index, value in enumerate(values)}, repeats


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


def _follow(
    sources: Sequence[Source],
    name: str,
    kept: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    known: tuple[dict[str | None, int], int],
) -> npt.NDArray[np.int64]:
    """Positions of the rows of a long table whose cell and repeat were kept from the same source, in the cells' order."""
    keys, rank, origin = kept
    ids, repeats = known
    parts = [one.table(name, ("cell", "repeat")) for one in sources]
    having = [(index, part) for index, part in enumerate(parts) if part is not None]
    if not having or not len(keys):
        return np.empty(0, np.int64)
    table = pa.concat_tables([part for _, part in having])
    source = np.repeat([index for index, _ in having], [part.num_rows for _, part in having])
    code, values = codes(table["cell"])
    translate = np.array([*(ids.get(value, -1) for value in values), -1], np.int64)
    repeat = numbers(table["repeat"])
    row_key = np.where((translate[code] >= 0) & (repeat < repeats), translate[code] * repeats + repeat, -1)
    at = np.minimum(np.searchsorted(keys, row_key), len(keys) - 1)
    rows = np.flatnonzero((keys[at] == row_key) & (origin[at] == source))
    return rows[np.argsort(rank[at[rows]], kind="stable")]


def _environments(sources: Sequence[Source]) -> pa.Table:
    having = [part for one in sources if (part := one.table("environments")) is not None]
    table = pa.concat_tables([empty(schema("environments")), *having])
    rows = zip(*(table[name].to_pylist() for name in ("env", "machine", "key")), range(table.num_rows), strict=True)
    seen = {(env or "", machine or "", key or ""): index for env, machine, key, index in rows}
    return table.take(indices(np.array([seen[one] for one in sorted(seen)], np.int64)))
