"""What is saved against `shmem`: the one column of `cells` that is filled from another row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mshare_bench.results.columns import codes, holds, indices, known, numbers

__all__ = ["BASELINE", "with_savings"]

BASELINE = "shmem"
"""The mechanism that savings are taken against."""


def with_savings(cells: pa.Table) -> pa.Table:
    """Fill `page_table_saved_bytes`.

    A row's baseline is the `ok` row of `shmem` with the same `baseline_point`, engine and machine: that of the same repeat, or
    where there is none the one of the lowest repeat. Null where there is no baseline, or no figure in either row.
    """
    position = cells.schema.get_field_index("page_table_saved_bytes")
    saved, valid = _saved(cells)
    return cells.set_column(position, cells.schema.field(position), indices(saved, valid))


def _saved(cells: pa.Table) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if not cells.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    usable = holds(cells, "status", "ok") & known(cells["page_table_bytes"])
    baseline = usable & holds(cells, "mechanism", BASELINE)
    tables, repeat = numbers(cells["page_table_bytes"]), numbers(cells["repeat"])
    group = np.zeros(cells.num_rows, np.int64)
    for name in ("baseline_point", "engine", "machine"):
        code, values = codes(cells[name])
        group = group * (len(values) + 1) + code + 1
    repeats = int(repeat.max()) + 1
    exact, has_exact = _look_up(group * repeats + repeat, baseline, tables, np.zeros_like(repeat))
    first, has_first = _look_up(group, baseline, tables, repeat)
    valid = usable & has_first
    return np.where(valid, np.where(has_exact, exact, first) - tables, 0), valid


def _look_up(
    key: npt.NDArray[Any], source: npt.NDArray[np.bool_], value: npt.NDArray[Any], order: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """For every row the value of the source row with its key that comes first in `order`, and whether there is one."""
    rows = np.flatnonzero(source)
    if not len(rows):
        return np.zeros_like(value), np.zeros(len(key), np.bool_)
    rows = rows[np.lexsort((order[rows], key[rows]))]
    keys, first = np.unique(key[rows], return_index=True)
    at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    return value[rows[first]][at], keys[at] == key
