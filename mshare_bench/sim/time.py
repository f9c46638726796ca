"""Times of every phase, from exact counts of work and the unit costs of one machine.

A time is a sum of counts times unit costs; a page costs more once what is walked over does not fit into the caches (`Far`), which
bends a series where the real one bends. Its interval takes every cost at its lower and at its upper end. A phase that needs a
cost which the profile does not have has no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mshare_bench.domain.cost import CostModel
from mshare_bench.sim.work import WORK_PHASES, Far, Share, Work

__all__ = ["Prices", "Spread", "Time", "Timed", "far_share", "median_times", "prices_of", "spread", "time_of", "timed"]

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


def far_share(far: Far, processes: int, cache_bytes: float) -> float:
    """Share of the pages whose lines are gone when they are wanted again.

    What fits into the caches stays there; of a larger footprint that is walked over again and again, as much as the caches hold.
    """
    footprint = far.footprint + far.everyone * processes
    return max(0.0, 1.0 - cache_bytes / footprint) if footprint else 0.0


def time_of(work: Work, prices: Prices, processes: int) -> Time | None:
    """Price the work of one process in one phase, as one of so many; None where a cost is missing."""
    value = low = high = 0.0
    for name, count in work.counts:
        price = prices.get(name)
        if price is None:
            return None
        value += count * price[0]
        low += count * price[1]
        high += count * price[2]
    if work.far and (cache := prices.get("cache_bytes")) is not None:
        for far in work.far:
            price = prices.get(far.cost)
            if price is None:
                continue  # a profile from published figures has one cost per page, wherever it lies
            count = far.pages * far_share(far, processes, cache[0])
            value += count * price[0]
            low += count * price[1]
            high += count * price[2]
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


def median_times(rows: Sequence[Timed]) -> dict[str, Time]:
    """Median time per process of every phase that has times, over the processes that take part in it."""
    if len(rows) == 1:
        return {phase: time for phase, time in zip(WORK_PHASES, rows[0].times, strict=True) if time is not None}
    medians = {}
    for index, phase in enumerate(WORK_PHASES):
        known = _known(rows, index, phase)
        if known:
            medians[phase] = _median(known)
    return medians


def spread(rows: Sequence[Timed], phase: str) -> Spread | None:
    """How the times of one phase spread over processes; None where one of them has no time."""
    known = _known(rows, WORK_PHASES.index(phase), phase)
    if not known:
        return None
    total = sum(count for _, count in known)

    def quantile(q: float) -> float:
        rank, seen = q * (total - 1), 0
        for time, count in known:
            seen += count
            if rank < seen:
                return time.value
        return known[-1][0].value

    whole = sum(time.value * count for time, count in known)
    return Spread(quantile(0.5), quantile(0.95), quantile(0.99), known[-1][0].value, whole)


def _known(rows: Sequence[Timed], index: int, phase: str) -> list[tuple[Time, int]]:
    """Times and numbers of processes, ascending; nothing where a time is missing."""
    known = []
    for row in rows:
        time = row.times[index]
        if time is not None:
            known.append((time, row.processes))
        elif phase not in row.idle:
            return []
    known.sort(key=lambda pair: pair[0].value)
    return known


def _median(known: list[tuple[Time, int]]) -> Time:
    total, seen = sum(count for _, count in known), 0
    for place, (time, count) in enumerate(known):
        seen += count
        if 2 * seen == total:
            after = known[place + 1][0]
            return Time((time.value + after.value) / 2, (time.low + after.low) / 2, (time.high + after.high) / 2)
        if 2 * seen > total:
            return time
    return known[-1][0]
