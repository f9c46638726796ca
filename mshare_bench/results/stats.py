"""Statistics of repeats: medians with bootstrap intervals, outliers, and whether two sets of repeats differ.

Everything works on many cells at once: a row of a two-dimensional array holds the repeats of one cell. Times of processes within
one repeat are no independent samples, so repeats are what is counted. scipy is imported on first use.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CONFIDENCE", "Shift", "Summary", "corrected", "outliers", "shift", "summarise"]

CONFIDENCE = 0.95

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
        Relative difference of the medians, 0.1 for ten per cent more; nan where the first median is zero.
    low, high
        Its 95 % bootstrap interval; nan where either side has fewer than three repeats.
    p
        Of the two-sided Mann-Whitney test; nan where even complete separation could not fall below 0.05.
    effect
        Cliff's delta: 1 where every value of the second is above every one of the first, -1 the other way round.
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


def shift(first: npt.ArrayLike, second: npt.ArrayLike, seed: int = 0) -> Shift:
    """Compare two sets of repeats, cell by cell.

    Parameters
    ----------
    first, second
        Shapes (cells, repeats of the first) and (cells, repeats of the second).
    seed
        Of the bootstrap.
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
    p = np.asarray(result.pvalue, np.float64) if least < 1 - CONFIDENCE else unknown
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


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _combinations(first: int, second: int) -> int:
    import math

    return math.comb(first + second, first)
