"""What is kept of times."""

import numpy as np
import pytest

from mshare_bench.real.quantiles import median, spread


def test_the_interval_of_the_median_is_by_order_statistics() -> None:
    found = median("touch", np.arange(100, 0, -1))
    # Ranks of the 95 % interval of a median of 100 (binomial, p = 1/2): the 40th and the 61st, from 1.
    assert found == {"touch_ns": 50.5, "touch_ns_lo": 41.0, "touch_ns_hi": 61.0}
    assert median("exit", np.array([7])) == {"exit_ns": 7.0, "exit_ns_lo": 7.0, "exit_ns_hi": 7.0}


def test_spread() -> None:
    found = spread(np.arange(1, 101))
    assert (found["p50_ns"], found["max_ns"], found["sum_ns"]) == (50.5, 100.0, 5050.0)
    assert found["p95_ns"] == pytest.approx(95.05)
