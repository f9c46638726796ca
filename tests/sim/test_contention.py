import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.cost import CostModel
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.contention import (
    Station,
    concurrent_faults,
    fit_crowd,
    lock_wait,
    mean_value_analysis,
    predict_crowd,
    shootdown_ns,
    stations_of,
)
from tests.sim.points import point

TIMES = st.floats(1, 1e6)
COUNTS = st.integers(1, 200)


def machine_repair(customers, think, service):
    """Throughput of one exponential station by its birth-death chain: the textbook answer, worked out another way."""
    weights = [1.0]
    for busy in range(1, customers + 1):
        weights.append(weights[-1] * (customers - busy + 1) * service / think)
    return (1 - weights[0] / sum(weights)) / service


@given(st.integers(1, 30), st.floats(1, 1e4), st.floats(1, 1e4))
def test_one_station_gives_what_its_markov_chain_gives(customers, think, service):
    throughput, _ = mean_value_analysis(customers, think, [Station("lock", service)])
    assert throughput == pytest.approx(machine_repair(customers, think, service), rel=1e-6)


@given(COUNTS, TIMES, st.lists(st.floats(0.1, 1e4), max_size=4))
def test_time_adds_up_and_no_station_does_more_than_it_can(customers, think, demands):
    stations = [Station(str(number), demand) for number, demand in enumerate(demands)]
    throughput, residence = mean_value_analysis(customers, think, stations)
    assert customers / throughput == pytest.approx(think + sum(residence.values()))  # Little's law
    for one in stations:
        assert throughput * one.demand_ns <= 1 + 1e-9
        assert residence[one.name] >= one.demand_ns * (1 - 1e-12)


@settings(max_examples=60)
@given(COUNTS, st.integers(1, 64), TIMES, st.floats(0, 1e4), st.floats(0, 0.1))
def test_more_faulters_wait_no_less(processes, cpus, work, demand, drag):
    stations = (Station("lock", demand),)
    few = concurrent_faults(processes, cpus, work, stations, drag)
    more = concurrent_faults(processes + 1, cpus, work, stations, drag)
    assert more.lock_wait_ns >= few.lock_wait_ns - 1e-6
    assert more.fault_ns >= few.fault_ns * (1 - 1e-12)
    if processes >= cpus:
        assert more.per_second == few.per_second  # they take turns


def test_one_process_waits_for_nobody():
    for sharing in ("own", "one_mm", "one_mm_mmap_lock", "mshare"):
        alone = concurrent_faults(1, 8, 1000, stations_of(sharing, 50))
        assert alone.lock_wait_ns == 0
        assert alone.per_second == pytest.approx(1e6)


def test_locks_of_ones_own_scale_and_a_common_one_does_not():
    own = concurrent_faults(64, 64, 1000, stations_of("own", 50))
    assert own.per_second == pytest.approx(64e6)
    for sharing in ("one_mm", "mshare"):
        shared = concurrent_faults(64, 64, 1000, stations_of(sharing, 50))
        assert shared.per_second <= 1e9 / 100 * (1 + 1e-9)  # two transfers of 50 ns for each fault
        assert shared.lock_wait_ns > 1000
        (busy,) = shared.utilisation.values()
        assert 0.99 < busy <= 1


def test_a_crowd_that_made_the_rates_is_found_again():
    true = fit_crowd({1: 1e6, 8: 6e6, 40: 9e6}, (1, 8, 40), 64)
    rates = predict_crowd(true, range(1, 65), 64)
    found = predict_crowd(fit_crowd(rates, (2, 12, 50), 64), range(1, 65), 64)
    assert all(found[count] == pytest.approx(rates[count], rel=0.01) for count in rates)


@given(st.integers(0, 500), st.floats(0, 1e5), st.floats(0, 1e4))
def test_a_shootdown_costs_more_with_every_cpu_that_it_goes_to(cpus, base, each):
    costs = [shootdown_ns(count, base, each, 7.0) for count in (cpus, cpus + 1)]
    assert costs[1] >= costs[0] >= 7.0
    assert shootdown_ns(0, base, each, 7.0) == 7.0
    assert math.isclose(shootdown_ns(1, base, each), base)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((0, 4, 1.0), "processes=0"), ((1, 0, 1.0), "cpus=0"), ((1, 1, -1.0), "work_ns=-1"),
     ((2, 2, 1.0, (Station("a", -1.0),)), "must not be negative")],
)  # fmt: skip
def test_impossible_numbers_are_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        concurrent_faults(*arguments)


def costs(cpus=8, **values):
    rows = [{"name": name, "value": value, "unit": "ns", "source": "test"} for name, value in values.items()]
    return CostModel.of({"name": "x", "costs": rows, "environment": {} if cpus is None else {"cpus": str(cpus)}})


@pytest.mark.parametrize("mechanism", ["shared_mm", "mshare"])
def test_processes_wait_where_faulters_share_a_lock(mechanism):
    setting = setting_of(point(mechanism, 16, 1 << 20))
    waits = [
        lock_wait(setting, setting.workload.processes, 256, 256 * 500.0, costs(cpus, lock_transfer=60))
        for cpus in (1, 2, 8, 16)
    ]
    assert waits[0] == 0
    assert waits == sorted(waits) and waits[-1] > waits[1] > 0
    most = 256 / 16 * (16 - 1) * 2 * 60  # everybody else in front, each time
    assert waits[-1] <= most


def test_waiting_is_null_where_it_is_not_modelled_or_not_known():
    shared, own = (setting_of(point(name, 16, 1 << 20)) for name in ("shared_mm", "shmem"))
    assert lock_wait(own, own.workload.processes, 4096, 1e6, costs(lock_transfer=60)) is None
    assert lock_wait(shared, shared.workload.processes, 256, 1e6, costs()) is None
    assert lock_wait(shared, shared.workload.processes, 256, 1e6, costs(None, lock_transfer=60)) is None
    assert lock_wait(shared, shared.workload.processes, 256, None, costs(lock_transfer=60)) is None
