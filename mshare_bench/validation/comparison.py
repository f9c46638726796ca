"""A prediction beside what it is held against, and the table of them: `validation.arrow`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import pyarrow as pa

from mshare_bench.results.columns import column

__all__ = ["BLOCKS", "Comparison", "compared", "failed", "median_error", "table"]

BLOCKS = ("kernel", "published", "out_of_sample")
"""Held against the running kernel, against published results, and against data that nothing was fitted on."""

_FIELDS = (
    ("target", pa.string(), "", "What it is held against: a published result, a cell of this machine"),
    ("quantity", pa.string(), "", "What was predicted"),
    ("coordinates", pa.string(), "", "Where: the coordinates of the number"),
    ("predicted", pa.float64(), "", "What the model says, in the unit of the reference; null where nothing models it"),
    ("reference", pa.float64(), "", "What was measured or published; null where that failed"),
    ("ratio", pa.float64(), "1", "Predicted over reference"),
    ("tolerance", pa.float64(), "1", "Relative error that passes; null where the error is only reported"),
    ("passed", pa.bool_(), "", "Whether it is within; null where it was fitted, is only reported or not modelled"),
    ("fitted", pa.bool_(), "", "Whether this row set a parameter: then it is no prediction"),
    ("source", pa.string(), "", "Where the reference stands"),
    ("unit", pa.string(), "", "Unit of predicted and reference; empty for a plain number"),
    ("block", pa.string(), "", "kernel, published or out_of_sample"),
    ("note", pa.string(), "", "Why it is only reported, or not modelled"),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row; see the fields of the table."""

    target: str
    quantity: str
    coordinates: str
    predicted: float | None
    reference: float | None
    tolerance: float | None
    source: str
    fitted: bool = False
    unit: str = ""
    block: str = "published"
    note: str = ""
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """Predicted over reference; 1 where both are 0."""
        if self.predicted is None or self.reference is None:
            return None
        if self.reference == 0:
            return 1.0 if self.predicted == 0 else None
        return self.predicted / self.reference

    @property
    def passed(self) -> bool | None:
        """Whether the prediction is within its tolerance; None where that is not asked."""
        if self.fitted or self.tolerance is None or self.predicted is None or self.reference is None:
            return None
        if self.at_least:
            return self.predicted >= self.reference
        return abs(self.predicted - self.reference) <= self.tolerance * abs(self.reference)


def compared(rows: Sequence[Comparison]) -> list[Comparison]:
    """Those rows that were predicted and may pass or fail."""
    return [row for row in rows if row.passed is not None]


def failed(rows: Sequence[Comparison]) -> list[Comparison]:
    """Those rows that failed."""
    return [row for row in rows if row.passed is False]


def median_error(rows: Iterable[Comparison]) -> float | None:
    """Median relative error of those that are predictions and have a ratio; None where there is none."""
    errors = [abs(row.ratio - 1) for row in rows if not row.fitted and row.ratio is not None]
    return median(errors) if errors else None


def table(rows: Sequence[Comparison]) -> pa.Table:
    """Rows as the table that is stored, with units and descriptions in its fields."""
    fields = [
        pa.field(name, kind, metadata={"unit": unit, "better": "none", "description": description})
        for name, kind, unit, description in _FIELDS
    ]
    arrays = [column([getattr(row, one.name) for row in rows], one.type) for one in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
