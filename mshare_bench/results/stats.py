"""Statistics of repeats: medians with bootstrap intervals, outliers, and whether two sets of repeats differ.

Everything works on many cells at once: a row of a two-dimensional array holds the repeats of one cell. Times of processes within
one repeat are no independent samples, so repeats are what is counted. scipy is imported on first use.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "CONFIDENCE",
    "FEWEST_BLOCKS",
    "Shift",
    "Summary",
    "corrected",
    "outliers",
    "paired_shift",
    "shift",
    "summarise",
]

CONFIDENCE = 0.95
FEWEST_BLOCKS = 6
"""Of fewer blocks that took turns not even complete agreement (2 of 2^blocks) is below 0.05."""

_RESAMPLES = 2000
_MAD = 1.4826  # scales the median absolute deviation of a normal distribution to its standard deviation
_FAR = 3.5  # Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Repeats of one cell put together.

    Attributes
    ----------
    repeats
        How many.
    median
        Of them.
    low, high
        Its 95 % bootstrap interval; None for fewer than three repeats.
    outliers
        Positions of repeats far from the median (3.5 robust standard deviations); they are named, never dropped.
    """

    repeats: int
    median: float
    low: float | None
    high: float | None
    outliers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """How the second of two sets of repeats differs from the first, for many cells (one element each).

    Attributes
    ----------
    change
        Relative difference, 0.1 for ten per cent more; nan where the first is zero.
    low, high
        Its 95 % interval; nan where there are too few repeats for one.
    p
        Of the two-sided test; nan where even complete separation could not fall below 0.05.
    effect
        From -1 to 1: 1 where every value of the second is above the one of the first that it is held against (every one of them
        in `shift`, which makes it Cliff's delta; that of its block in `paired_shift`, the rank-biserial correlation of pairs).
    """

    change: _Floats
    low: _Floats
    high: _Floats
    p: _Floats
    effect: _Floats


def summarise(values: npt.ArrayLike, seed: int = 0) -> Summary:
    """Put the repeats of one cell together.

    Raises
    ------
    ValueError
        When there are none, or one of them is no number.
    """
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or not data.size or not np.isfinite(data).all():
        raise ValueError("repeats must be finite numbers, at least one")
    low = high = None
    if data.size >= 3:
        drawn = _medians(data[np.newaxis], np.random.default_rng(seed))[0]
        low, high = (float(one) for one in np.quantile(drawn, _tails()))
    return Summary(data.size, float(np.median(data)), low, high, outliers(data))


def outliers(values: npt.ArrayLike) -> tuple[int, ...]:
    """Positions of values further than 3.5 robust standard deviations from the median; none of fewer than four values."""
    data = np.asarray(values, np.float64)
    if data.size < 4:
        return ()
    distance = np.abs(data - np.median(data))
    spread = _MAD * float(np.median(distance))
    if spread == 0:  # more than half are equal: whatever is not, is far
        return tuple(np.flatnonzero(distance > 0).tolist())
    return tuple(np.flatnonzero(distance > _FAR * spread).tolist())


def shift(first: npt.ArrayLike, second: npt.ArrayLike, seed: int = 0, allowed: float = 0.0) -> Shift:
    """Compare two sets of repeats that are independent of each other, cell by cell.

    The change is that of the medians with a bootstrap interval, the test Mann and Whitney's.

    Parameters
    ----------
    first, second
        Shapes (cells, repeats of the first) and (cells, repeats of the second).
    seed
        Of the bootstrap.
    allowed
        Share by which they may differ: `p` is that of differing by no more.
    """
    from scipy import stats

    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    cells = len(one)
    unknown = np.full(cells, np.nan)
    base = np.median(one, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(
            base != 0, np.median(two, axis=1) / base - 1, np.where(np.median(two, axis=1) == 0, 0.0, np.nan)
        )
    low, high = unknown.copy(), unknown.copy()
    if one.shape[1] >= 3 and two.shape[1] >= 3:
        generator = np.random.default_rng(seed)
        for start in range(0, cells, 256):  # bounds the memory of the resampling
            block = slice(start, start + 256)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = _medians(two[block], generator) / _medians(one[block], generator) - 1
                low[block], high[block] = np.quantile(np.nan_to_num(ratios, posinf=np.inf), _tails(), axis=1)
    least = 2 / _combinations(one.shape[1], two.shape[1])
    result = stats.mannwhitneyu(two, one, axis=1, alternative="two-sided", method="auto")
    effect = 2 * np.asarray(result.statistic, np.float64) / (one.shape[1] * two.shape[1]) - 1
    if allowed:  # the second brought nearer by that share; one that gets past the first had differed by less
        nearer = two * np.where(change > 0, 1 / (1 + allowed), 1 + allowed)[:, np.newaxis]
        result = stats.mannwhitneyu(nearer, one, axis=1, alternative="two-sided", method="auto")
        past = (np.median(nearer, axis=1) - base) * change <= 0
    else:
        past = np.zeros(cells, bool)
    p = np.where(past, 1.0, np.asarray(result.pvalue, np.float64)) if least < 1 - CONFIDENCE else unknown
    return Shift(change, low, high, p, effect)


def paired_shift(first: npt.ArrayLike, second: npt.ArrayLike) -> Shift:
    """Compare two sets of repeats by blocks that stand beside each other in time, cell by cell.

    The change is Hodges and Lehmann's estimate over the relative differences of the blocks, with the interval that belongs to
    Wilcoxon's signed-rank test. The test needs no more than that both sides of a block could have been the other way round.

    Parameters
    ----------
    first, second
        Shape (cells, blocks): one value per block, none of them negative.
    """
    from scipy import stats

    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    cells, blocks = one.shape
    both = one + two
    # Relative to the middle of the two: as large one way as the other, and there also where one of them is zero.
    difference = np.divide(2 * (two - one), both, out=np.zeros_like(both), where=both > 0)
    left, right = np.triu_indices(blocks)
    inner = _signed_rank_inner(blocks)
    change, low, high = (np.full(cells, np.nan) for _ in range(3))
    for start in range(0, cells, 4096):  # bounds the memory of the averages
        rows = slice(start, start + 4096)
        averages = np.sort((difference[rows, left] + difference[rows, right]) / 2, axis=1)
        change[rows] = _as_change(np.median(averages, axis=1))
        if inner is not None:
            low[rows], high[rows] = _as_change(averages[:, inner]), _as_change(averages[:, -1 - inner])
    ranks = np.asarray(stats.rankdata(np.abs(difference), axis=1), np.float64)
    effect = (ranks * np.sign(difference)).sum(axis=1) / ranks.sum(axis=1)
    if blocks < FEWEST_BLOCKS:
        return Shift(change, low, high, np.full(cells, np.nan), effect)
    p = np.asarray(stats.wilcoxon(difference, axis=1, zero_method="zsplit").pvalue, np.float64)
    return Shift(change, low, high, p, effect)


def corrected(p: npt.ArrayLike) -> _Floats:
    """Correct p values for how many there are (Benjamini and Hochberg); nan stays nan and does not count."""
    from scipy import stats

    values = np.asarray(p, np.float64).copy()
    tested = np.isfinite(values)
    if tested.any():
        values[tested] = stats.false_discovery_control(values[tested], method="bh")
    return values


def _medians(data: _Floats, generator: np.random.Generator) -> _Floats:
    """Medians of resampled rows: shape (rows, resamples)."""
    drawn = generator.integers(0, data.shape[1], (_RESAMPLES, data.shape[1]))
    return np.asarray(np.median(data[:, drawn], axis=2))


def _as_change(difference: _Floats) -> _Floats:
    """From a difference relative to the middle to one relative to the first; nan where that is zero and the other is not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference < 2, (2 + difference) / (2 - difference) - 1, np.nan)


def _signed_rank_inner(blocks: int) -> int | None:
    """Position, from either end of the sorted averages of pairs, at which the 95 % interval begins; None for too few blocks."""
    chances = np.ones(1)
    for rank in range(1, blocks + 1):  # each rank counts or does not, with equal chance
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    outside = int(np.count_nonzero(np.cumsum(chances) <= _tails()[0]))
    return outside - 1 if outside else None


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _combinations(first: int, second: int) -> int:
    import math

    return math.comb(first + second, first)
