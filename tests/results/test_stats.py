import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.results.stats import FEWEST_BLOCKS, corrected, outliers, paired_shift, shift, summarise


def test_the_interval_of_a_median_covers_it() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = summarise(generator.lognormal(0, 0.1, 25))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high
    assert covered >= 180  # 95 % nominal; the percentile bootstrap of a median is a little off at 25


@settings(deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40))
def test_a_summary_is_in_order(values: list[float]) -> None:
    found = summarise(values)
    assert found.repeats == len(values)
    if len(values) < 3:
        assert found.low is found.high is None
    else:
        assert found.low is not None
        assert found.high is not None
        assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found == summarise(values)


def test_outliers_are_named_and_kept() -> None:
    values = [10.0, 10.1, 9.9, 10.05, 30.0, 9.95]
    assert summarise(values).outliers == (4,)
    assert summarise(values).repeats == 6
    assert outliers([1, 1, 1, 1, 2]) == (4,)
    assert outliers([1, 1, 50]) == ()


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise(values)


def test_a_shift_has_its_size_its_direction_and_its_doubt() -> None:
    generator = np.random.default_rng(2)
    first = generator.lognormal(0, 0.05, (50, 20))
    found = shift(first, first * 1.1)
    assert np.allclose(found.change, 0.1)
    assert (found.effect > 0).all()
    assert (found.p < 0.05).mean() > 0.9
    assert ((found.low < found.change) & (found.change < found.high)).all()
    back = shift(first * 1.1, first)
    assert np.allclose(back.effect, -found.effect)
    assert np.allclose(back.p, found.p)


def test_of_too_few_repeats_nothing_is_claimed() -> None:
    found = shift([[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]])
    assert np.isnan(found.p).all()
    assert np.isfinite(found.low).all()
    alone = shift([[1.0]], [[2.0]])
    assert np.isnan(alone.low).all()
    assert alone.effect[0] == 1.0
    assert np.isnan(shift([[0.0]], [[2.0]]).change[0])


def test_what_is_allowed_is_no_shift() -> None:
    first = np.random.default_rng(3).lognormal(0, 0.02, (50, 20))
    assert (shift(first, first * 1.1, allowed=0.2).p == 1).all()
    assert (shift(first, first / 1.1, allowed=0.2).p == 1).all()
    for factor in (1.4, 1 / 1.4):
        found = shift(first, first * factor, allowed=0.2)
        assert (found.p < 0.001).all()
        assert np.allclose(found.change, factor - 1)  # what is allowed is not taken off
    assert (shift(first, first, allowed=0.2).p == 1).all()


def test_a_drift_that_both_meet_hides_no_shift_and_makes_none() -> None:
    generator = np.random.default_rng(4)
    drift = np.exp(np.cumsum(generator.normal(0, 0.3, (400, 20)), axis=1))  # hundreds of per cent within a run
    first, second = (drift * generator.lognormal(0, 0.04, drift.shape) for _ in range(2))
    equal = paired_shift(first, second)
    assert (equal.p < 0.05).mean() <= 0.08  # 0.05 expected; more than 0.08 of 400 once in two hundred times
    assert ((equal.low <= 0) & (equal.high >= 0)).mean() >= 0.92
    slower = paired_shift(first, second * 1.1)
    assert (slower.p < 0.003).mean() > 0.95
    assert ((slower.low <= 0.1) & (slower.high >= 0.1)).mean() >= 0.92
    assert (shift(first, second * 1.1).p < 0.003).mean() < 0.1  # what taking turns is good for
    back = paired_shift(second * 1.1, first)
    assert np.allclose((1 + back.change) * (1 + slower.change), 1)
    assert np.allclose(back.p, slower.p)
    assert np.allclose(back.effect, -slower.effect)


def test_of_too_few_blocks_nothing_is_claimed() -> None:
    few = paired_shift([[1.0] * (FEWEST_BLOCKS - 1)], [[9.0] * (FEWEST_BLOCKS - 1)])
    assert np.isnan(few.p).all()
    assert np.isnan(few.low).all()
    enough = paired_shift([[1.0] * FEWEST_BLOCKS], [[9.0] * FEWEST_BLOCKS])
    assert enough.p[0] < 0.05
    assert np.allclose([enough.low, enough.change, enough.high, enough.effect], [[8], [8], [8], [1]])


@pytest.mark.parametrize("blocks", [6, 9, 20, 35])
def test_the_interval_leaves_out_what_the_test_does(blocks: int) -> None:
    generator = np.random.default_rng(blocks)
    first = generator.lognormal(0, 0.1, (600, blocks))
    found = paired_shift(
        first, first * generator.lognormal(0, 0.1, first.shape) * generator.uniform(0.8, 1.25, (600, 1))
    )
    outside = (found.low > 0) | (found.high < 0)
    assert (outside == (found.p < 0.05)).all()
    assert 0.2 < outside.mean() < 0.95


def test_blocks_of_zeros_are_equal_and_from_zero_is_no_share() -> None:
    found = paired_shift(np.zeros((2, 8)), [[0.0] * 8, [5.0] * 8])
    assert (found.change[0], found.p[0], found.effect[0]) == (0, 1, 0)
    assert np.isnan(found.change[1])
    assert found.p[1] < 0.05


def test_correction_leaves_gaps_alone_and_never_lowers_a_p() -> None:
    values = np.array([0.01, np.nan, 0.04, 0.5])
    found = corrected(values)
    assert np.isnan(found[1])
    assert np.allclose(found[[0, 2, 3]], [0.03, 0.06, 0.5])
    assert (found[[0, 2, 3]] >= values[[0, 2, 3]]).all()
