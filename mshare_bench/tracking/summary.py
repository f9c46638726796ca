"""The small table of a sweep that MLflow shows as a preview."""

from typing import Any

import numpy as np
import pyarrow as pa

from mshare_bench.results.columns import codes, indices, numbers

__all__ = ["MOST_ROWS", "summary_table"]

MOST_ROWS = 500

_COLUMNS = (
    "mechanism", "variant", "engine", "processes", "region_bytes", "page_table_bytes", "page_table_saved_bytes", "minor_faults",
    "linking_faults", "tlb_flushes", "address_space_bytes", "attach_ns", "touch_ns", "fork_ns", "unmap_ns", "exit_ns",
    "data_bytes", "workload", "access", "page_bytes", "repeat", "status", "basis", "error",
)  # fmt: skip


def summary_table(cells: pa.Table) -> dict[str, Any]:
    """Make a table in the form that MLflow's `log_table` writes: `{"columns": [...], "data": [[...], ...]}`.

    Of a large sweep it holds whole comparisons (all rows of a `baseline_point`), evenly chosen, 500 rows at most.
    """
    kept = cells
    if cells.num_rows > MOST_ROWS:
        code, names = codes(cells["baseline_point"])
        weight = numbers(cells["processes"]).astype(np.float64) * numbers(cells["region_bytes"])
        size = np.zeros(len(names))
        np.maximum.at(size, code, weight)
        order = np.argsort(size, kind="stable")
        wanted = max(1, MOST_ROWS * len(names) // cells.num_rows)
        chosen = order[np.unique(np.linspace(0, len(names) - 1, wanted).round().astype(int))]
        kept = cells.take(indices(np.flatnonzero(np.isin(code, chosen))[:MOST_ROWS]))
    rows = kept.select(list(_COLUMNS))
    columns = [name for name in _COLUMNS if set(rows[name].unique().to_pylist()) - {None, ""}]
    return {
        "columns": columns,
        "data": [list(row) for row in zip(*(rows[name].to_pylist() for name in columns), strict=True)],
    }
