from dataclasses import replace

import pytest

from mshare_bench.sim.mmu import MmuCounts, ProcessCounts, Scenario, Uniform, price
from tests.sim.mmu.configurations import MIB
from tests.sim.mmu.geometries import named_geometry

NONE = (0, 0, 0, 0)
# 100 accesses, 20 L1 misses, 10 walks; PTEs: 4 in the L2, 6 in memory; PMD entries: 5 in the L1D; data all in the L3
COUNTS = MmuCounts(
    (ProcessCounts(100, (20, 0), (10, 0), ((0, 4, 0, 6), (5, 0, 0, 0), NONE, NONE, NONE), (0, 0, 100, 0)),)
)
SCENARIO = Scenario(region=MIB, processes=1, accesses=100, streams=(Uniform(),))
MMU = replace(named_geometry("skylake_sp"), clock_ghz=2.0, memory_ns=(100.0, 150.0), walkers=2, outstanding=10)


def test_a_chain_of_accesses_pays_for_everything() -> None:
    cost = price(COUNTS, SCENARIO, MMU)
    walk = 4 * 14 + 6 * 200 + 5 * 4
    data = 100 * 77
    assert cost.walk_cycles == walk
    assert cost.processes[0].stlb_cycles == 10 * 8
    assert cost.cycles == pytest.approx(100 + 10 * 8 + walk + data)
    assert cost.walk_share == pytest.approx(walk / cost.cycles)
    assert cost.cycles_per_walk == pytest.approx(walk / 10)
    assert cost.table_references_by_hops == (6, 0)
    assert cost.remote_walk_fraction == 0


def test_independent_accesses_go_at_the_pace_of_the_slowest() -> None:
    walk, data = 4 * 14 + 6 * 200 + 5 * 4, 100 * 77
    cost = price(COUNTS, SCENARIO, MMU, dependent=False)
    assert cost.cycles == pytest.approx(max(180, walk / 2, data / 10))
    assert cost.walk_share == pytest.approx(walk / 2 / cost.cycles)
    slow = price(COUNTS, SCENARIO, MMU, dependent=False, work_cycles=1000)
    assert slow.cycles == pytest.approx(100 * 1000 + 80)


def test_far_tables_cost_more_and_only_their_memory_references() -> None:
    two_nodes = replace(SCENARIO, core_nodes=(0,), table_nodes=(1,), data_nodes=(0,))
    near, far = price(COUNTS, SCENARIO, MMU), price(COUNTS, two_nodes, MMU)
    assert far.walk_cycles - near.walk_cycles == pytest.approx(6 * 100)
    assert far.cycles - near.cycles == pytest.approx(6 * 100)
    assert far.table_references_by_hops == (0, 6)
    assert far.remote_walk_fraction == 1


def test_interleaved_data_costs_the_mean() -> None:
    in_memory = replace(COUNTS.processes[0], data_references=(0, 0, 0, 100))
    counts = MmuCounts((in_memory,))
    near, far, both = (price(counts, replace(SCENARIO, data_nodes=nodes), MMU).cycles for nodes in ((0,), (1,), (0, 1)))
    assert both == pytest.approx((near + far) / 2)
    assert far > near


def test_nothing_counted_gives_no_number() -> None:
    idle = ProcessCounts(100, (0, 0), (0, 0), (NONE,) * 5, (100, 0, 0, 0))
    cost = price(MmuCounts((idle,)), SCENARIO, MMU)
    assert cost.cycles_per_walk is None
    assert cost.remote_walk_fraction is None
    assert cost.walk_share == 0


def test_totals_are_sums_over_processes() -> None:
    both = MmuCounts((COUNTS.processes[0], COUNTS.processes[0]))
    scenario = replace(SCENARIO, processes=2, core_nodes=(0, 1), cores_of=(0, 1), table_nodes=(0, 0))
    assert (both.accesses, both.l1_misses, both.walks) == (200, 40, 20)
    assert both.table_references[0] == (0, 8, 0, 12)
    cost = price(both, scenario, MMU)
    assert cost.walk_cycles == sum(process.walk_cycles for process in cost.processes)
    assert cost.table_references_by_hops == (6, 6)
    assert cost.remote_walk_fraction == 0.5
