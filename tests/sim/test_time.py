import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.time import Time, Timed, far_share, median_times, prices_of, ranked, spreads, time_of, timed
from mshare_bench.sim.work import WORK_PHASES, Far, Share, Work, shares_of
from tests.sim.points import point


def profile(**values):
    rows = [
        {"name": name, "value": values.get(name, 1), "low": values.get(name, 1) * 0.9, "high": values.get(name, 1) * 1.2,
         "unit": kind.unit, "source": "test"}
        for name, kind in UNIT_COSTS.items()
    ]  # fmt: skip
    return prices_of(CostModel.of({"name": "test", "costs": rows}))


def times(one, prices):
    return median_times(ranked(timed(shares_of(setting_of(one)), prices)))


def test_a_time_is_counts_times_costs_with_its_interval():
    prices = {"fault_read": (100.0, 90.0, 120.0), "pte_fill": (10.0, 9.0, 11.0)}
    found = time_of(Work((("fault_read", 4), ("pte_fill", 60))), prices, 1)
    assert found == Time(1000.0, 900.0, 1140.0)


def test_a_missing_cost_leaves_the_time_null():
    assert time_of(Work((("fault_read", 4), ("fork", 1))), {"fault_read": (1.0, 1.0, 1.0)}, 1) is None


@given(st.floats(1, 1e9), st.floats(0, 1e9), st.integers(1, 1000), st.floats(1, 1e8))
def test_more_is_far_as_more_is_walked_over(own, everyone, processes, cache):
    here = far_share(Far("unmap_far", 1, own, everyone), processes, cache)
    assert 0 <= here <= 1
    assert here <= far_share(Far("unmap_far", 1, own, everyone), processes + 1, cache)
    assert here <= far_share(Far("unmap_far", 1, own * 2, everyone), processes, cache)
    if own + everyone * processes <= cache:
        assert here == 0


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(mechanisms())),
    pages=st.integers(1, 3000),
    more=st.integers(0, 3000),
    writes=st.sampled_from((0.0, 1.0)),
)
def test_a_larger_region_never_takes_less(name, pages, more, writes):
    prices = profile(cache_bytes=1_000_000, access_far=3)
    try:
        small = times(point(name, 4, pages * 4096, write_fraction=writes), prices)
        large = times(point(name, 4, (pages + more) * 4096, write_fraction=writes), prices)
    except ConfigError:
        return
    huge = name in ("thp", "anon_thp")  # 512 base pages become one leaf there
    for phase, time in small.items():
        assert time.low <= time.value <= time.high
        if not huge:
            assert time.value <= large[phase].value + 1e-6, phase


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(mechanisms())), factor=st.floats(1, 100))
def test_times_are_in_proportion_to_the_costs(name, factor):
    try:
        one = point(name, 3, 64 * MIB)
        once = times(one, profile(cache_bytes=0, cache_last_bytes=0))
    except ConfigError:
        return
    scaled = {
        key: tuple(factor * end for end in ends) for key, ends in profile(cache_bytes=0, cache_last_bytes=0).items()
    }
    for phase, time in times(one, scaled).items():
        assert time.value == pytest.approx(factor * once[phase].value)


def test_a_thousand_sharers_touch_cheaper_than_a_thousand_owners():
    prices = profile(fault_read=1000, table_allocate=500, fault_link=2000)
    mshare, shmem = (times(point(name, 1000, GIB), prices)["touch"].value for name in ("mshare", "shmem"))
    assert mshare < shmem / 10


def test_a_phase_that_is_refused_has_no_time():
    assert "protect" not in times(point("mshare", 3, MIB), profile())
    assert "protect" in times(point("shmem", 3, MIB), profile())


def test_medians_and_spreads_count_processes():
    def row(processes, value, idle=frozenset()):
        time = None if idle else Time(value, value, value)
        return Timed("g", processes, tuple(time for _ in WORK_PHASES), idle)

    assert median_times(ranked([row(1, 100.0), row(2, 1.0)]))["touch"].value == 1
    assert median_times(ranked([row(2, 100.0), row(2, 1.0)]))["touch"].value == 50.5
    assert median_times(ranked([row(1, 7.0), row(9, 0.0, frozenset(WORK_PHASES))]))["attach"].value == 7
    found = spreads(ranked([row(1, 100.0), row(99, 1.0)]))["touch"]
    assert (found.p50, found.p99, found.max, found.sum) == (1, 1, 100, 199)
    assert "touch" not in spreads(ranked([Timed("g", 1, (None,) * len(WORK_PHASES))]))


def test_shares_are_priced_as_one_of_all_processes():
    work = Work((), (Far("protect_far", 10, 0.0, 100.0),))
    share = Share("g", 4, (work,) * len(WORK_PHASES))
    prices = {"protect_far": (2.0, 2.0, 2.0), "cache_bytes": (200.0, 200.0, 200.0)}
    assert timed([share], prices)[0].times[0].value == pytest.approx(2 * 10 * 0.5)


def test_beyond_the_last_cache_a_page_costs_more_again():
    """Private tables of five hundred processes: what five show of the first knee says nothing of the second."""
    work = Work((), (Far("protect_far", 10, 0.0, 100.0),))
    prices = {
        "protect_far": (2.0, 2.0, 2.0), "cache_bytes": (200.0, 200.0, 200.0),
        "protect_beyond": (4.0, 3.0, 5.0), "cache_last_bytes": (1000.0, 1000.0, 1000.0),
    }  # fmt: skip
    within, over = (time_of(work, prices, processes) for processes in (10, 100))
    assert within == Time(16.0, 16.0, 16.0)
    assert over is not None
    assert over.value == pytest.approx(10 * (2 * 0.98 + 4 * 0.9))
    assert over.low == pytest.approx(10 * (2 * 0.98 + 3 * 0.9))
