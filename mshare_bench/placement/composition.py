"""What remote data, remote page tables and replicated page tables cost, composed from single measurements.

A program spends a share of its time in page walks and the rest on data. Page tables on another node slow the walks, data on
another node slows the rest, and the two do not touch each other: that is the whole model, and the published runs of Mitosis
(ASPLOS'20) test it. A replica of the page tables costs one more store per entry that changes; a move of a folio costs a fixed
part and a copy. Every function here says what it was fitted on; nothing else may set a parameter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = [
    "FixedAndRate",
    "Slowdown",
    "fit_fixed_and_rate",
    "predict_joint",
    "predict_move_rates",
    "predict_remote_tables",
    "predict_replicated_operations",
    "remote_walk_coefficient",
    "slowdown",
]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """By how much walks and data each slow down, and what follows for the run.

    Attributes
    ----------
    walk, data
        Time over local time, of page walks and of everything else.
    runtime
        Of the whole program, over its runtime with everything local.
    """

    walk: float
    data: float
    runtime: float


@dataclass(frozen=True, slots=True)
class FixedAndRate:
    """A cost of `fixed + rate * amount`, with the amounts it was fitted on."""

    fixed: float
    rate: float
    fitted: tuple[float, ...]

    def cost(self, amount: float) -> float:
        """Cost of that amount."""
        return self.fixed + self.rate * amount


def slowdown(walk_share: float, walk: float, data: float) -> Slowdown:
    """Compose the slowdown of a program from the share of its time in walks and the factors of walks and data."""
    return Slowdown(walk, data, walk_share * walk + (1 - walk_share) * data)


def predict_joint(walk_share: float, tables_remote: float, data_remote: float) -> Slowdown:
    """Predict the run with page tables and data remote from the two runs with one of them remote.

    Parameters
    ----------
    walk_share
        Share of the time spent in page walks when all is local; above 0 and below 1.
    tables_remote, data_remote
        Runtimes with only the page tables and only the data remote, over the all-local run.
    """
    walk = 1 + (tables_remote - 1) / walk_share
    data = 1 + (data_remote - 1) / (1 - walk_share)
    return slowdown(walk_share, walk, data)


def remote_walk_coefficient(rows: Sequence[tuple[float, float]]) -> float:
    """Fit by how much remote tables slow a walk: the median over (walk share, runtime with remote tables) pairs.

    The median, since one program whose walks overlap with other work would pull a mean away.
    """
    return median((runtime - 1) / share for share, runtime in rows)


def predict_remote_tables(rows: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Predict every program's runtime with remote tables from its walk share and the coefficient of all *other* programs.

    `rows` holds (walk share, runtime with remote tables) by program; a program's own runtime is never used for it.
    """
    predicted = {}
    for name, (share, _) in rows.items():
        others = [row for other, row in rows.items() if other != name]
        predicted[name] = 1 + share * remote_walk_coefficient(others)
    return predicted


def fit_fixed_and_rate(costs: Mapping[float, float], on: tuple[float, float]) -> FixedAndRate:
    """Fit a fixed cost and a rate on two amounts exactly; `costs` maps amounts to total costs."""
    low, high = on
    rate = (costs[high] - costs[low]) / (high - low)
    return FixedAndRate(costs[low] - rate * low, rate, on)


def predict_replicated_operations(
    plain: Mapping[float, float], replicated: Mapping[float, float], fit: tuple[float, float], replicas: int
) -> tuple[dict[float, float], FixedAndRate]:
    """Predict cycles per page of a memory operation with replicated page tables.

    The operation without replicas costs a fixed part and a part per page; every replica beyond the first adds a fixed part and
    a part per page of its own, the same for each.

    Parameters
    ----------
    plain, replicated
        Measured cycles per page by number of pages, with one copy of the tables and with `replicas`; of both only the
        amounts in `fit` are read.
    fit
        The two numbers of pages that set the parameters.
    replicas
        Copies of the tables.

    Returns
    -------
    dict, FixedAndRate
        Predicted cycles per page for every number of pages in `replicated`, and what one further replica adds in cycles
        per call and per page.
    """
    base = fit_fixed_and_rate({n: n * plain[n] for n in fit}, fit)
    extra = fit_fixed_and_rate({n: n * (replicated[n] - plain[n]) / (replicas - 1) for n in fit}, fit)
    return {n: (base.cost(n) + (replicas - 1) * extra.cost(n)) / n for n in replicated}, extra


def predict_move_rates(
    rates: Mapping[int, float], fit: tuple[int, int], sizes: Sequence[int] | None = None
) -> tuple[dict[int, float], FixedAndRate]:
    """Predict the rate of `move_pages` by folio size: each folio costs a fixed time and its bytes a copy.

    Parameters
    ----------
    rates
        Measured bytes per nanosecond (which is GB/s) by folio size in bytes; only those in `fit` are read.
    fit
        The two sizes that set the parameters.
    sizes
        Sizes to predict; those of `rates` if not given.

    Returns
    -------
    dict, FixedAndRate
        Bytes per nanosecond by size, and the cost of one folio: ns, and ns per byte.
    """
    cost = fit_fixed_and_rate({size: size / rates[size] for size in fit}, fit)
    return {size: size / cost.cost(size) for size in sizes or rates}, cost
