"""Times of every phase, from exact counts of work and the unit costs of one machine.

A time is a sum of counts times unit costs; a page costs more once what is walked over does not fit into the caches (`Far`), which
bends a series where the real one bends. Its interval takes every cost at its lower and at its upper end. A phase that needs a
cost which the profile does not have has no time.

Numbers of processes may be arrays, of cells that differ in nothing else (`mshare_bench.sim.alike`); times are arrays then.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cost import CostModel
from mshare_bench.sim.work import WORK_PHASES, Far, Share, Work

__all__ = [
    "Prices",
    "Ranked",
    "Spread",
    "Time",
    "Timed",
    "beyond",
    "far_share",
    "median_times",
    "prices_of",
    "ranked",
    "spreads",
    "time_of",
    "timed",
]

Prices = Mapping[str, tuple[float, float, float]]
"""Value, lower and upper end of every unit cost that a profile has."""


@dataclass(frozen=True, slots=True)
class Time:
    """Nanoseconds and their 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Timed:
    """Processes of a group with the same times, one per phase of `WORK_PHASES`; None where there is none."""

    group: str
    processes: int
    times: tuple[Time | None, ...]
    idle: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Spread:
    """Times of several processes: quantiles and sum, in nanoseconds."""

    p50: float
    p95: float
    p99: float
    max: float
    sum: float


def prices_of(model: CostModel) -> Prices:
    """Take the numbers out of a profile; costs that are null are left out."""
    return {name: (one.value, one.low, one.high) for name, one in model.costs.items() if one is not None}


def beyond(cost: str) -> str:
    """Name of what a `*_far` cost takes more once the last cache does not hold it either."""
    return f"{cost.removesuffix('_far')}_beyond"


def far_share(far: Far, processes: Any, cache_bytes: float) -> Any:
    """Share of the pages whose lines are gone when they are wanted again.

    What fits into the caches stays there; of a larger footprint that is walked over again and again, as much as the caches hold.
    """
    footprint = far.footprint + far.everyone * processes if far.everyone else far.footprint
    if isinstance(footprint, np.ndarray):
        if far.footprint:
            return np.maximum(0.0, 1.0 - cache_bytes / footprint)
        walked = footprint > 0  # of no processes nothing is walked over
        return np.where(walked, np.maximum(0.0, 1.0 - cache_bytes / np.where(walked, footprint, 1.0)), 0.0)
    return max(0.0, 1.0 - cache_bytes / footprint) if footprint else 0.0


def time_of(work: Work, prices: Prices, processes: Any) -> Time | None:
    """Price the work of one process in one phase, as one of so many; None where a cost is missing."""
    value = low = high = 0.0
    for name, count in work.counts:
        price = prices.get(name)
        if price is None:
            if count:
                return None
            continue  # none of it in any of the cells that are computed
        value = value + count * price[0]
        low = low + count * price[1]
        high = high + count * price[2]
    for far in work.far:
        for cost, size in ((far.cost, "cache_bytes"), (beyond(far.cost), "cache_last_bytes")):
            price, cache = prices.get(cost), prices.get(size)
            if price is None or cache is None:
                continue  # a profile from published figures has one cost per page, wherever it lies
            count = far.pages * far_share(far, processes, cache[0])
            value = value + count * price[0]
            low = low + count * price[1]
            high = high + count * price[2]
    return Time(value, low, high)


def timed(shares: Sequence[Share], prices: Prices) -> list[Timed]:
    """Price every phase of every share."""
    processes = sum(share.processes for share in shares)
    return [
        Timed(
            share.group,
            share.processes,
            tuple(
                None if work is None or phase in share.idle else time_of(work, prices, processes)
                for phase, work in zip(WORK_PHASES, share.phases, strict=True)
            ),
            share.idle,
        )
        for share in shares
    ]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Shares of processes with their times in ascending order, of which medians and spreads are taken.

    Attributes
    ----------
    rows
        As they came.
    phases
        Phases in which all who take part have times.
    values
        Times and their ends by row, phase and end; of every phase those that take no part come last, as infinity.
    counts
        Processes by row and phase; 0 where they take no part.
    """

    rows: Sequence[Timed]
    phases: list[str]
    values: NDArray[Any]
    counts: NDArray[Any]


def ranked(rows: Sequence[Timed]) -> Ranked:
    """Sort the shares, one at least, by their times, every phase by itself."""
    parts = [[phase not in row.idle for row in rows] for phase in WORK_PHASES]
    chosen = [
        at
        for at, taking in enumerate(parts)
        if any(taking) and all(row.times[at] is not None for row, takes in zip(rows, taking, strict=True) if takes)
    ]
    phases = [WORK_PHASES[at] for at in chosen]
    shape = np.broadcast_shapes(
        *(np.shape(row.processes) for row in rows),
        *(np.shape(time.value) for row in rows for time in row.times if time is not None),
    )
    values: NDArray[Any] = np.full((len(rows), len(chosen), 3, *shape), np.inf)
    counts: NDArray[Any] = np.zeros((len(rows), len(chosen), *shape), np.int64)
    for place, row in enumerate(rows):
        for number, at in enumerate(chosen):
            time = row.times[at]
            if time is not None and parts[at][place]:
                values[place, number, 0], values[place, number, 1] = time.value, time.low
                values[place, number, 2] = time.high
                counts[place, number] = row.processes
    if len(rows) < 2:
        return Ranked(rows, phases, values, counts)
    order = np.argsort(values[:, :, 0], axis=0, kind="stable")
    return Ranked(rows, phases, _at(values, order[:, :, None]), _at(counts, order))


def median_times(of: Ranked) -> dict[str, Time]:
    """Median time per process of every phase that has times, over the processes that take part in it."""
    rows, values = of.rows, of.values
    if len(rows) == 1:
        return {phase: time for phase, time in zip(WORK_PHASES, rows[0].times, strict=True) if time is not None}
    seen = of.counts.cumsum(axis=0)
    half = np.argmax(2 * seen >= seen[-1], axis=0)
    below = _at(seen, half)
    after = np.argmax(seen > below, axis=0)  # not just the next: of some cells no process is in it
    here, after = _at(values, half[:, None]), _at(values, after[:, None])
    even = 2 * below == seen[-1]
    middle = np.where(even[:, None], (here + after) / 2, here)
    return {phase: Time(*(middle[at, end][()] for end in range(3))) for at, phase in enumerate(of.phases)}


def spreads(of: Ranked) -> dict[str, Spread]:
    """How the times of every phase spread over processes; phases in which one of them has no time are left out."""
    if len(of.rows) == 1:
        alone = {phase: time.value for phase, time in median_times(of).items()}
        return {phase: Spread(one, one, one, one, one * of.rows[0].processes) for phase, one in alone.items()}
    values, seen = of.values[:, :, 0], of.counts.cumsum(axis=0)
    last = seen[-1]
    places = [np.argmax(q * (last - 1) < seen, axis=0) for q in (0.5, 0.95, 0.99)]
    columns = [_at(values, place) for place in (*places, np.argmax(seen == last, axis=0))]
    # Added up in ascending order, whatever else is computed beside it: the same bits for a cell alone and among others.
    columns.append(np.add.accumulate(np.where(of.counts > 0, values, 0.0) * of.counts, axis=0)[-1])
    return {phase: Spread(*(column[at][()] for column in columns)) for at, phase in enumerate(of.phases)}


def _at(values: NDArray[Any], place: NDArray[Any]) -> NDArray[Any]:
    """Of everything behind the first axis the row at its place; `place` is spread over it."""
    found: NDArray[Any] = values[(place, *_mesh(values.shape[1:]))]
    return found


@functools.lru_cache(maxsize=1024)
def _mesh(shape: tuple[int, ...]) -> tuple[NDArray[Any], ...]:
    """Indices of every axis, as many as there are axes, that together span the shape."""
    return tuple(np.ogrid[tuple(slice(one) for one in shape)])
