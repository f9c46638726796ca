import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.access import PATTERNS, AccessPattern, zipf_coverage
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize("kind", PATTERNS)
def test_every_pattern_is_deterministic_and_inside(kind):
    pages = AccessPattern(kind).pages(100 * MIB, 4096).pages()
    assert len(pages) > 0
    assert (np.diff(pages) > 0).all()
    assert 0 <= pages[0] and pages[-1] < 25_600
    assert np.array_equal(pages, AccessPattern(kind).pages(100 * MIB, 4096).pages())


def test_sparse_is_one_page_per_2_mib():
    pages = AccessPattern("sparse").pages(GIB, 4096).pages()
    assert np.array_equal(pages, np.arange(512) * 512)


@given(st.floats(0, 1), st.integers(1, 5000))
def test_fraction_is_exact(fraction, pages):
    assert AccessPattern("fraction", fraction=fraction).pages(pages * 4096, 4096).count == round(fraction * pages)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 2), st.floats(0.05, 3), st.integers(100, 3000))
def test_zipf_coverage_is_what_drawing_shows(skew, accesses, count):
    weights = np.arange(1, count + 1) ** -skew
    weights /= weights.sum()
    draws = np.random.default_rng(1).choice(count, size=(20, max(1, round(accesses * count))), p=weights)
    seen = np.mean([len(np.unique(row)) for row in draws]) / count
    assert zipf_coverage(count, skew, accesses) == pytest.approx(seen, abs=0.03)


def test_zipf_coverage_beyond_the_exact_sum_agrees_with_the_exact_sum():
    count, skew = 1_000_000, 0.99
    popularity = np.arange(1, count + 1) ** -skew
    popularity /= popularity.sum()
    exact = 1 - np.exp(count * np.log1p(-popularity)).mean()
    assert zipf_coverage(count, skew, 1.0) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        ("densse", {}, "access=densse"),
        ("fraction", {"fraction": 1.5}, "access.fraction=1.5"),
        ("dense", {"step": 4096}, "access.step=4096"),
        ("zipf", {"skew": -1}, "access.skew=-1"),
        ("fraction", {"fraction": "half"}, "access.fraction=half"),
        ("stride", {"step": "0"}, "access.step=0"),
    ],
)
def test_bad_input_names_key_and_value(kind, params, named):
    with pytest.raises(ConfigError, match=named):
        AccessPattern.of(kind, **params)


def test_a_stride_that_is_no_multiple_of_the_page():
    with pytest.raises(ConfigError, match="access.step=6000"):
        AccessPattern.of("stride", step=6000).pages(MIB, 4096)


def test_only_used_parameters_are_shown():
    assert AccessPattern("dense", skew=3).params == {}
    assert AccessPattern("fraction").params == {"fraction": 0.25, "seed": 0}
