import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.pages import BLOCK, PageSet, dense, sample, strided
from mshare_bench.domain.union import Copies, union_spans


@st.composite
def copies(draw):
    first, length = draw(st.integers(0, 3000)), draw(st.sampled_from([1, 3, 40, 700, 4000, BLOCK + 7]))
    pages = draw(
        st.sampled_from(
            [
                dense(first, length),
                strided(first, 3, -(-length // 3)),
                strided(first, 700, -(-length // 700)),
                sample(first, length, length // 3, seed=first % 4),
                PageSet((*dense(first, length).runs, *dense(first + length, 5).runs)),
            ]
        )
    )
    pages = draw(st.sampled_from([pages, pages.split(0.4)[0], pages.clip(first + 1, first + length)]))
    stride = draw(st.sampled_from([0, 0, 1, 7, 512, 5000]))
    return Copies(pages, stride, draw(st.integers(1, 6)))


def listed(sets):
    shifts = [(one.pages.pages(), one.stride * index) for one in sets for index in range(one.count)]
    return np.unique(np.concatenate([pages + by for pages, by in shifts])) if shifts else np.empty(0, np.int64)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(copies(), min_size=1, max_size=3),
    st.lists(copies(), max_size=2),
    st.sampled_from([0, 5, 511, 512, 1 << 27]),
    st.sampled_from([1, 16, 512, 512 * 512]),
)
def test_spans_of_a_union_are_what_enumeration_finds(sets, without, origin, span):
    expected = np.unique((np.setdiff1d(listed(sets), listed(without)) + origin) // span)
    found = union_spans(sets, origin, span, without)
    assert found.count == len(expected)
    if len(expected):
        assert (found.first, found.last) == (expected[0], expected[-1])


def test_a_terabyte_drawn_at_random_needs_the_memory_of_a_few_blocks():
    pages = (1 << 40) // 4096
    drawn = sample(0, pages, pages // 3, seed=1)
    written, read = drawn.split(0.1)
    union_spans([Copies(dense(0, 10))], 0, 1)
    tracemalloc.start()
    try:
        left = union_spans([Copies(read), Copies(dense(0, pages))], 0, 1, [Copies(written)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert left.count == pages - written.count
    assert peak < 64 << 20


def test_slices_that_meet_are_one_run():
    assert len(list(Copies(dense(0, 100), 100, 10_000).runs())) == 1
    assert union_spans([Copies(dense(3, 100), 100, 10_000)], 0, 512).count == -(-1_000_003 // 512)
