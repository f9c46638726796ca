"""Data that nothing was fitted on: half of a series from the other half, a program from all others, joint effects from single.

Published series are cut in two: every other point sets the parameters, by least squares of relative errors, the others are
predicted. That is stricter in one way than the targets' own two or three points (the halves lie side by side) and looser in
another (there are more of them), and shows whether a target passes by a lucky choice of points.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mshare_bench.domain.units import parse_count, parse_size
from mshare_bench.sim.contention import fit_crowd, predict_crowd
from mshare_bench.validation.comparison import Comparison
from mshare_bench.validation.models import predict
from mshare_bench.validation.targets import Target

__all__ = ["fit_line", "half_of_crowd", "half_of_series", "out_of_sample"]

_LEAVE_OUT = ("composition", "remote_tables")
"""Models whose targets are out-of-sample by themselves: joint effects from single ones, a program from all others."""


def out_of_sample(targets: Sequence[Target]) -> Iterator[Comparison]:
    """Check every target that can be split.

    Raises
    ------
    ConfigError
        When a target lacks what its model needs.
    """
    for target in targets:
        if target.model in _LEAVE_OUT:
            for row in predict(target):
                if row.predicted is not None and not row.fitted:
                    yield replace(row, block="out_of_sample")
        elif target.model in _LINES:
            yield from half_of_series(target)
        elif target.model == "concurrent_faults":
            yield from half_of_crowd(target)


def half_of_series(target: Target) -> Iterator[Comparison]:
    """Fit a fixed cost and a rate on every other point of a series, predict the others."""
    amount, cost, back = _LINES[target.model]
    points = sorted(target.rows, key=amount)
    fitted = points[::2]
    fixed, rate = fit_line({amount(x): cost(x, float(target.rows[x])) for x in fitted})
    yield from _held(target, {x: back(x, fixed + rate * amount(x)) for x in points}, fitted)


def half_of_crowd(target: Target) -> Iterator[Comparison]:
    """Fit a crowd of faulters on every other number of processes, predict the others."""
    cpus, points = parse_count(target.given["cpus"], "cpus", 1), sorted(target.rows)
    fitted = points[::2]
    yield from _held(target, predict_crowd(fit_crowd(target.rows, fitted, cpus), points, cpus), fitted)


def _held(target: Target, predicted: Mapping[Any, float], fitted: Sequence[Any]) -> Iterator[Comparison]:
    for x, value in predicted.items():
        yield Comparison(
            target.id, "half of the series", f"{x} {target.unit.get('x', 'x')}", value, float(target.rows[x]),
            target.tolerance_of("half of the series"), target.source, x in fitted, target.unit.get("y", ""), "out_of_sample",
        )  # fmt: skip


def fit_line(points: Mapping[float, float]) -> tuple[float, float]:
    """Fixed cost and rate, neither below zero, that give the least squares of relative errors."""
    from scipy.optimize import nnls

    amounts, costs = np.array(list(points)), np.array(list(points.values()))
    solution, _ = nnls(np.stack([1 / costs, amounts / costs], axis=1), np.ones(len(costs)))
    return float(solution[0]), float(solution[1])


def _number(x: object) -> float:
    return float(str(x))


def _folio(x: object) -> float:
    return float(parse_size(str(x), "folio"))


_LINES: dict[
    str, tuple[Callable[[object], float], Callable[[object, float], float], Callable[[object, float], float]]
] = {
    # A series by size: x is the amount, y its cost.
    "fork": (_number, lambda _x, y: y, lambda _x, cost: cost),
    # A rate by folio size: a folio of x bytes at y GB/s takes x/y ns.
    "move_pages": (_folio, lambda x, y: _folio(x) / y, lambda x, cost: _folio(x) / cost),
}
"""By model: amount of a point, cost from its value, value from a cost."""
