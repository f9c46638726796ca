import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.pages import BLOCK, EMPTY, PageSet, Run, dense, floor_sum, sample, strided, union_intervals


@st.composite
def page_sets(draw):
    runs, at = [], draw(st.integers(0, 100))
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.one_of(st.integers(1, 3000), st.integers(BLOCK - 5, BLOCK + 2000)))
        kind = draw(st.sampled_from(["dense", "strided", "sample"]))
        if kind == "sample":
            runs += sample(at, length, draw(st.integers(0, length)), draw(st.integers(0, 3))).runs
        else:
            step = 1 if kind == "dense" else draw(st.integers(2, 700))
            runs += strided(at, step, -(-length // step)).runs
        at += length + draw(st.integers(0, 600))
    return PageSet(tuple(runs))


@settings(max_examples=150, deadline=None)
@given(page_sets(), st.integers(0, 1 << 20), st.sampled_from([1, 16, 512, 512 * 512]))
def test_spans_are_what_enumeration_finds(pages, origin, span):
    indices = np.unique((pages.pages() + origin) // span)
    found = pages.spans(origin, span)
    assert found.count == len(indices)
    if len(indices):
        assert (found.first, found.last) == (indices[0], indices[-1])
    rows = pages.intervals(origin, span)
    assert np.array_equal(np.concatenate([np.arange(a, b + 1) for a, b in rows]) if len(rows) else [], indices)


@settings(max_examples=100, deadline=None)
@given(page_sets(), st.integers(0, BLOCK + 3000), st.integers(0, BLOCK + 3000))
def test_clip_keeps_the_pages_inside(pages, start, stop):
    listed = pages.pages()
    assert np.array_equal(pages.clip(start, stop).pages(), listed[(listed >= start) & (listed < stop)])


@settings(max_examples=100, deadline=None)
@given(page_sets(), st.floats(0, 1), st.integers(0, 5))
def test_split_is_a_partition(pages, fraction, seed):
    taken, rest = pages.split(fraction, seed)
    both = np.sort(np.concatenate([taken.pages(), rest.pages()]))
    assert np.array_equal(both, pages.pages())
    assert abs(taken.count - fraction * pages.count) <= len(pages.runs)


def test_a_sample_is_distinct_ascending_exact_and_repeatable():
    one = sample(7, 3 * BLOCK + 11, 100_001, seed=3)
    pages = one.pages()
    assert one.count == len(pages) == 100_001
    assert (np.diff(pages) > 0).all()
    assert pages[0] >= 7 and pages[-1] < 7 + 3 * BLOCK + 11
    assert np.array_equal(pages, sample(7, 3 * BLOCK + 11, 100_001, seed=3).pages())
    assert not np.array_equal(pages, sample(7, 3 * BLOCK + 11, 100_001, seed=4).pages())


def test_a_petabyte_costs_what_a_page_costs():
    assert dense(0, 1 << 38).spans(0, 512).count == 1 << 29


def test_empty():
    assert EMPTY.count == 0
    assert EMPTY.spans(0, 512).count == 0
    assert dense(0, 0) == EMPTY


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=12))
def test_union_of_intervals(pairs):
    rows = [np.array([[start, start + length]]) for start, length in pairs]
    union = union_intervals(rows)
    covered = {page for start, length in pairs for page in range(start, start + length + 1)}
    assert {page for start, end in union for page in range(start, end + 1)} == covered
    assert (union[1:, 0] > union[:-1, 1] + 1).all()


def test_a_stretch_that_the_sample_leaves_out_has_no_span():
    run = Run(0, 1, 513, 0, 1, 0, 513, seed=0)
    (taken,) = run.pages()
    other = 0 if taken else 1
    assert run.clip(other, other + 1).intervals(0, 1).shape == (0, 2)
    assert run.clip(int(taken), int(taken) + 1).intervals(0, 1).tolist() == [[taken, taken]]


@given(st.integers(0, 60), st.integers(1, 40), st.integers(0, 99), st.integers(0, 99))
def test_floor_sum_is_the_sum_term_by_term(count, span, stride, offset):
    assert floor_sum(count, span, stride, offset) == sum((offset + stride * at) // span for at in range(count))


def test_floor_sum_of_many_numbers_is_that_of_each_and_of_large_ones_is_exact():
    numbers = np.random.default_rng(1).integers(1, 1 << 18, (4, 200))
    found = floor_sum(*numbers)
    assert found.tolist() == [floor_sum(*map(int, one)) for one in numbers.T]
    assert floor_sum(10**9, 512, 10**9, 7) == sum_of_multiples(10**9, 512, 10**9, 7)


def sum_of_multiples(count, span, stride, offset):
    """As above for a stride whose remainders come round every `span` terms."""
    period = [offset + stride * at for at in range(span)]
    whole, rest = divmod(count, span)
    rounds = sum(one // span for one in period) * whole + stride * span * (whole * (whole - 1) // 2)
    return rounds + sum(one // span for one in period[:rest]) + rest * whole * stride


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1, 1, 3, 20]), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(0, 99),
    st.sampled_from([1, 8, 16]),
    st.integers(1, 70),
    st.integers(1, 30),
)
def test_copies_are_counted_without_listing_them(parts, origin, span, stride, copies):
    first, runs = 0, []
    for gap, step, count in parts:
        runs += strided(first + gap, step, count).runs
        first += gap + step * count
    pages = PageSet(tuple(runs))
    each = [pages.shift(stride * at).spans(origin, span).count for at in range(copies)]
    assert pages.copies_spans(origin, span, stride, copies) == sum(each)
    drawn = sample(3, 50, 20, 7)
    each = [drawn.shift(stride * at).spans(origin, span).count for at in range(copies)]
    assert drawn.copies_spans(origin, span, stride, copies) == sum(each)
