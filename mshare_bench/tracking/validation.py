"""What MLflow shows of a validation: counts and median error of every block as metrics, its rows as a table."""

from pathlib import Path
from typing import Any

from mshare_bench.report.validation import summary

__all__ = ["FILE", "validation_metrics", "validation_rows", "validation_table"]

FILE = "validation.arrow"
"""Beside the cells, in the folder of a store."""


def validation_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of the validation in a folder; none where there is none."""
    import pyarrow as pa

    path = folder / FILE
    if not path.is_file():
        return []
    with pa.ipc.open_file(path) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def validation_metrics(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Metrics by name: `published_failed`, `kernel_median_error`, ...; a block without predictions has no median error."""
    return {
        f"{block}_{name}": float(value)
        for block, counts in summary(rows).items()
        for name, value in counts.items()
        if value is not None
    }


def validation_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows in the form that MLflow's `log_table` writes."""
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
