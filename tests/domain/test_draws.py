import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.draws import HEAD, drawn, drawn_head, drawn_spans


@st.composite
def draws(draw):
    length = draw(st.one_of(st.integers(1, 300), st.integers(4000, 20_000), st.just(1 << 14)))
    low, high = sorted(draw(st.tuples(st.integers(0, length), st.integers(0, length))))
    return length, low, high, draw(st.integers(0, 3))


@given(draws())
@settings(max_examples=200, deadline=None)
def test_ranks_partition_the_positions(one):
    length, low, high, seed = one
    parts = [drawn(length, *ranks, seed) for ranks in ((0, low), (low, high), (high, length))]
    assert [len(part) for part in parts] == [low, high - low, length - high]
    assert sorted(np.concatenate(parts).tolist()) == list(range(length))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert drawn_head(*one).tolist() == [at for at in parts[1].tolist() if at < HEAD]


@given(
    draws(), st.sampled_from([1, 1, 1, 2, 7]), st.integers(0, 600), st.sampled_from([1, 2, 8, 14, 16, 31, 512, 4096])
)
@settings(max_examples=400, deadline=None)
def test_spans_are_those_of_the_listed_positions(one, step, phase, span):
    indices = np.unique((drawn(*one) * step + phase) // span)
    expected = (len(indices), int(indices[0]), int(indices[-1])) if len(indices) else None
    assert drawn_spans(*one, step, phase, span) == expected


@pytest.mark.parametrize("length", [5000, 8192, 250_000])
def test_a_length_is_drawn_from_the_permutation_of_the_next_power_of_two(length):
    order = np.random.Generator(np.random.PCG64(9)).permutation(1 << (length - 1).bit_length())
    ranked = order[order < length]
    assert drawn(length, 40, 90, 9).tolist() == sorted(ranked[40:90].tolist())
