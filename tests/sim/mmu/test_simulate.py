"""The compiled model against the plain one: equal counts on random configurations."""

import os
import random
import threading

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu import MmuCounts, Scenario, Tlb, Uniform, simulate, simulate_plainly
from tests.sim.mmu.configurations import GIB, KIB, MIB, random_geometry, random_scenario

# 500 configurations take about half a minute; every fifth is enough for each commit.
CONFIGURATIONS = int(os.environ.get("MSHARE_BENCH_MMU_CONFIGURATIONS", "100"))


@pytest.mark.parametrize("block", range(10))
def test_counts_equal_those_of_the_plain_model(block: int) -> None:
    for index in range(block, CONFIGURATIONS, 10):
        rnd = random.Random(index)
        mmu = random_geometry(rnd)
        scenario = random_scenario(rnd)
        assert simulate(scenario, mmu) == simulate_plainly(scenario, mmu), f"configuration {index}: {scenario} on {mmu}"


def test_configurations_reach_every_counter() -> None:
    totals = {"huge": 0, "memory": 0, "top": 0, "stlb_hits": 0, "recycled": 0}
    for index in range(60):
        rnd = random.Random(index)
        mmu, scenario = random_geometry(rnd), random_scenario(rnd)
        counts = simulate(scenario, mmu)
        totals["huge"] += sum(process.walks[1] for process in counts.processes)
        totals["memory"] += counts.table_references[0][3]
        totals["top"] += sum(counts.table_references[4])
        totals["stlb_hits"] += counts.l1_misses - counts.walks
        totals["recycled"] += scenario.tags == "pcid" and scenario.processes > scenario.pcids * len(scenario.core_nodes)
    assert all(totals.values()), totals


def test_same_scenario_gives_the_same_counts_in_two_threads() -> None:
    rnd = random.Random(4)
    mmu = random_geometry(rnd)
    scenario = random_scenario(rnd, accesses=200_000, caches=True)
    expected = simulate(scenario, mmu)
    results: list[MmuCounts] = []
    threads = [threading.Thread(target=lambda: results.append(simulate(scenario, mmu))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected, expected]


def test_counts_add_up() -> None:
    rnd = random.Random(8)
    for _ in range(20):
        mmu = random_geometry(rnd)
        scenario = random_scenario(rnd, caches=True, huge=0, page=4 * KIB, region=64 * MIB, streams=(Uniform(),))
        counts = simulate(scenario, mmu)
        for process in counts.processes:
            assert process.accesses == scenario.accesses == sum(process.data_references)
            assert process.walks[0] <= process.l1_misses[0] <= process.accesses
            assert sum(process.table_references[0]) == process.walks[0]  # every walk reads one PTE
            levels = [sum(level) for level in process.table_references]
            assert levels == sorted(levels, reverse=True)  # a walk starts somewhere and goes down to the leaf


def test_page_size_without_a_tlb_is_refused() -> None:
    mmu = random_geometry(random.Random(0))
    small = type(mmu)(**{name: getattr(mmu, name) for name in mmu.__slots__} | {"l1": (Tlb(4, 4, (4 * KIB,)),)})
    with pytest.raises(ConfigError, match=r"no L1 dTLB for pages of 1073741824 bytes"):
        simulate(Scenario(region=4 * GIB, page=GIB, processes=1, accesses=1, streams=(Uniform(),)), small)
