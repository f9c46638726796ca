"""What is kept of the times that the processes of a cell took."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUANTILES", "median", "spread"]

QUANTILES = (0, 10, 50, 250, 500, 750, 950, 990, 1000)
"""Per mille, of `samples=quantiles`."""


def median(phase: str, durations: NDArray[np.int64]) -> dict[str, float]:
    """Median with its 95 % interval by order statistics (distribution free), as columns of `cells`."""
    ordered = np.sort(durations)
    half = 0.98 * np.sqrt(len(ordered))
    low = max(0, int(np.floor(len(ordered) / 2 - half)))
    high = min(len(ordered) - 1, int(np.ceil(len(ordered) / 2 + half)))
    middle = float(np.median(ordered))
    return {f"{phase}_ns": middle, f"{phase}_ns_lo": float(ordered[low]), f"{phase}_ns_hi": float(ordered[high])}


def spread(durations: NDArray[np.int64]) -> dict[str, float]:
    """How they are spread, as columns of `phases`."""
    p50, p95, p99 = np.quantile(durations, (0.5, 0.95, 0.99))
    return {
        "p50_ns": float(p50),
        "p95_ns": float(p95),
        "p99_ns": float(p99),
        "max_ns": float(durations.max()),
        "sum_ns": float(durations.sum()),
    }
