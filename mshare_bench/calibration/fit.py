"""Solves rows of counts and times for unit costs: least squares of relative errors, no cost below zero.

The caches of a core come in as one number, the bytes of lines that stay near it. It is searched for: the one under which the
rows fit best. The last cache's size is known; what lies beyond it costs more again, where some row reaches so far. Intervals are
found by solving again, with every time moved by its own scatter and by what the fit leaves over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.sim.time import beyond, far_share
from mshare_bench.sim.work import Work

__all__ = ["Fit", "Row", "fit"]

_DRAWS = 100
_CACHE_DRAWS = 10
_FLOOR = 0.05
"""Relative error of every row, however little it scatters: what the equations leave out."""
_CACHES = tuple(int(2**power) for power in np.arange(18, 27.01, 0.5))


@dataclass(frozen=True, slots=True)
class Row:
    """One equation.

    Attributes
    ----------
    label, phase
        Experiment and phase.
    work, processes
        What one of so many processes does.
    ns
        What it took.
    scatter
        Relative standard error of `ns`.
    """

    label: str
    phase: str
    work: Work
    processes: int
    ns: float
    scatter: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Unit costs with their intervals.

    Attributes
    ----------
    costs
        (value, low, high) by name; `cache_bytes` is one of them.
    residuals
        Of every row: fitted time over measured time, less one.
    """

    costs: Mapping[str, tuple[float, float, float]]
    residuals: tuple[float, ...]


def fit(rows: Sequence[Row], known: Mapping[str, float], seed: int = 0) -> Fit:
    """Solve for every cost that the rows need and `known` does not have.

    Parameters
    ----------
    known
        Costs that were measured by themselves.
    """
    equations = _Equations(rows, known)
    measured = np.array([row.ns for row in rows])
    cache = min(_CACHES, key=lambda size: equations.misfit(measured, size))
    solution = equations.solve(measured, cache)
    residuals = equations.times(solution, cache) / measured - 1
    left = _left_over(rows, residuals, int((solution > 0).sum()))
    generator = np.random.default_rng(seed)
    near = [size for size in _CACHES if cache / 4 <= size <= cache * 4]
    draws: list[NDArray[np.float64]] = []
    caches: list[int] = []
    for number in range(_DRAWS):
        moved = measured * np.exp(generator.normal(0, left))
        if number < _CACHE_DRAWS:
            caches.append(min(near, key=lambda size: equations.misfit(moved, size)))
        draws.append(equations.solve(moved, caches[number % _CACHE_DRAWS]))
    low, high = np.quantile(np.array(draws), (0.025, 0.975), axis=0)
    costs = {
        name: (float(value), float(min(value, a)), float(max(value, b)))
        for name, value, a, b in zip(equations.names, solution, low, high, strict=True)
    }
    costs["cache_bytes"] = (float(cache), float(min(caches)), float(max(caches)))
    return Fit(costs, tuple(map(float, residuals)))


class _Equations:
    """Rows as matrices, one per size of the caches, made when they are asked for."""

    def __init__(self, rows: Sequence[Row], known: Mapping[str, float]) -> None:
        found = dict.fromkeys(name for row in rows for name, count in row.work.counts if count)
        found |= dict.fromkeys(far.cost for row in rows for far in row.work.far if far.pages)
        self._last = known.get("cache_last_bytes", float("inf"))
        found |= dict.fromkeys(
            beyond(far.cost)
            for row in rows
            for far in row.work.far
            if far.pages and far_share(far, row.processes, self._last) and beyond(far.cost) in UNIT_COSTS
        )
        self.names = tuple(name for name in found if name not in known)
        self._rows = rows
        self._known = known
        self._weight = 1 / np.hypot(_FLOOR, [row.scatter for row in rows])
        self._made: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def solve(self, measured: NDArray[np.float64], cache: int) -> NDArray[np.float64]:
        """Costs, none below zero, that give the smallest weighted sum of squared relative errors."""
        from scipy.optimize import nnls

        matrix, fixed = self._matrix(cache)
        scale = self._weight / measured
        scaled = matrix * scale[:, None]
        size = np.linalg.norm(scaled, axis=0)
        size[size == 0] = 1.0
        solution, _ = nnls(scaled / size, (measured - fixed) * scale)
        return np.asarray(solution / size)

    def times(self, solution: NDArray[np.float64], cache: int) -> NDArray[np.float64]:
        """Times of all rows at these costs."""
        matrix, fixed = self._matrix(cache)
        return np.asarray(matrix @ solution + fixed)

    def misfit(self, measured: NDArray[np.float64], cache: int) -> float:
        """Weighted sum of squared relative errors of the best costs."""
        apart = self.times(self.solve(measured, cache), cache) / measured - 1
        return float(((apart * self._weight) ** 2).sum())

    def _matrix(self, cache: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts of each cost (shape rows x names), and what the known costs take."""
        if cache not in self._made:
            place = {name: index for index, name in enumerate(self.names)}
            matrix, fixed = np.zeros((len(self._rows), len(self.names))), np.zeros(len(self._rows))
            for number, row in enumerate(self._rows):
                counts = [*row.work.counts]
                counts += [(far.cost, far.pages * far_share(far, row.processes, cache)) for far in row.work.far]
                further = [
                    (beyond(far.cost), far.pages * far_share(far, row.processes, self._last)) for far in row.work.far
                ]
                counts += [(cost, count) for cost, count in further if cost in place]
                for name, count in counts:
                    if name in place:
                        matrix[number, place[name]] += count
                    else:
                        fixed[number] += count * self._known[name]
            self._made[cache] = matrix, fixed
        return self._made[cache]


def _left_over(rows: Sequence[Row], residuals: NDArray[np.float64], solved: int) -> NDArray[np.float64]:
    """Relative error of every row: its own scatter, and what the fit typically leaves over in its phase."""
    phases = np.array([row.phase for row in rows])
    freedom = np.sqrt(len(rows) / max(1, len(rows) - solved))  # costs that follow a row make it look better than it is
    left = np.array([1.4826 * np.median(np.abs(residuals[phases == phase])) for phase in phases]) * freedom
    return np.asarray(np.hypot(left, [row.scatter for row in rows]))
