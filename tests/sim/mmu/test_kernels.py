"""What tags and shared tables do to misses and walks: properties that hold on every configuration, and how strongly."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.sim.mmu import HotCold, MmuCounts, Scenario, Tags, Uniform, price, quantum_accesses, simulate
from tests.sim.mmu.configurations import GIB, MIB, random_geometry, random_scenario, random_stream
from tests.sim.mmu.geometries import NAMES, named_geometry

# 1 ms at one access every 10 ns: a process touches its whole hot set many times over before it is switched out.
HOT = Scenario(
    region=GIB,
    processes=4,
    accesses=1_000_000,
    streams=(HotCold(hot=4 * MIB, fraction=1.0),),
    quantum=quantum_accesses(1e6, 10),
    caches=False,
)


def by_tags(scenario: Scenario, name: str) -> dict[Tags, MmuCounts]:
    every: tuple[Tags, ...] = ("none", "pcid", "group")
    return {tags: simulate(replace(scenario, tags=tags), named_geometry(name)) for tags in every}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32))
def test_misses_never_grow_from_none_to_pcid_to_group(seed: int) -> None:
    rnd = random.Random(seed)
    mmu = random_geometry(rnd)
    scenario = random_scenario(rnd, accesses=4000)
    none, pcid, group = (simulate(replace(scenario, tags=tags), mmu) for tags in ("none", "pcid", "group"))
    for process in range(scenario.processes):  # it holds access by access, so for each process and page size alone
        for kind in range(2):
            for counter in ("l1_misses", "walks"):
                counts = [getattr(run.processes[process], counter)[kind] for run in (none, pcid, group)]
                assert counts == sorted(counts, reverse=True), f"process {process}, {counter}: {counts}"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32))
def test_sharing_tables_under_pcid_leaves_tlb_misses_as_they_are(seed: int) -> None:
    rnd = random.Random(seed)
    mmu = random_geometry(rnd)
    scenario = random_scenario(rnd, tags="pcid", domains=(), caches=True)
    private = simulate(replace(scenario, shared_levels=0), mmu)
    shared = simulate(replace(scenario, shared_levels=3), mmu)
    for one, other in zip(private.processes, shared.processes, strict=True):
        assert (one.l1_misses, one.walks) == (other.l1_misses, other.walks)
        assert [sum(level) for level in one.table_references] == [sum(level) for level in other.table_references]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_one_process_alone_gains_nothing_from_tags_or_sharing(seed: int) -> None:
    rnd = random.Random(seed)
    mmu = random_geometry(rnd)
    scenario = random_scenario(
        rnd, processes=1, domains=(), cores_of=(), caches=True, region=64 * MIB, page=4096, huge=0, streams=(Uniform(),)
    )
    scenario = replace(scenario, streams=(random_stream(rnd, scenario.region),))
    runs = [
        simulate(replace(scenario, tags=tags, shared_levels=levels), mmu)
        for tags in ("none", "pcid", "group")
        for levels in (0, 3)
    ]
    assert all(run == runs[0] for run in runs)


def test_hot_sets_that_fit_together_are_strictly_ordered() -> None:
    """4 x 4 MiB are 4,096 pages: all fit the Zen 5 STLB at once, so tags save what a flush throws away."""
    counts = {tags: run.walks for tags, run in by_tags(HOT, "zen5").items()}
    assert counts["none"] > counts["pcid"] > counts["group"]
    assert counts["pcid"] == 4 * 1024  # each process's pages once
    assert counts["group"] == 1024  # the pages once
    assert counts["none"] == pytest.approx(4 * 10 * 1024, rel=0.01)  # each process's pages once per quantum


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"zen5"}))
def test_hot_sets_that_do_not_fit_together_gain_nothing_from_pcids(name: str) -> None:
    """Smaller STLBs: the three other processes push all of a process's entries out before its next turn (exact LRU).

    PCIDs then save no TLB miss at all; they save page-walk cache entries. Group tags still do.
    """
    runs = by_tags(replace(HOT, caches=True), name)
    assert runs["none"].walks == runs["pcid"].walks > runs["group"].walks
    upper = {tags: sum(run.table_references[1]) for tags, run in runs.items()}
    assert upper["none"] > upper["pcid"] > upper["group"]


@pytest.mark.parametrize("name", NAMES)
def test_hot_sets_in_huge_pages_are_strictly_ordered(name: str) -> None:
    """4 x 4 MiB are 8 huge pages, which every TLB holds."""
    counts = {tags: run.walks for tags, run in by_tags(replace(HOT, page=2 * MIB), name).items()}
    assert counts == {"none": 80, "pcid": 8, "group": 2}


@pytest.mark.parametrize("name", NAMES)
def test_shared_table_lines_cut_walk_cycles(name: str) -> None:
    """Four processes all over 4 GiB: 8 MiB of PTEs, once or four times, that compete with the data for the L3."""
    mmu = named_geometry(name)
    scenario = Scenario(
        region=4 * GIB, processes=4, accesses=300_000, warmup=300_000, streams=(Uniform(),), quantum=20_000
    )
    shared = replace(scenario, shared_levels=3)
    before, after = simulate(scenario, mmu), simulate(shared, mmu)
    assert before.walks == after.walks
    saving = 1 - price(after, shared, mmu).walk_cycles / price(before, scenario, mmu).walk_cycles
    assert saving > 0.1
    memory = [run.table_references[0][3] for run in (before, after)]
    assert memory[1] < memory[0]


def test_a_process_whose_pcid_was_given_away_starts_anew() -> None:
    """Seven processes take turns on six PCIDs: by the time one returns, its tag is another's."""
    six = replace(HOT, region=8 * MIB, streams=(HotCold(hot=4096, fraction=1.0),), processes=6)
    seven = replace(six, processes=7)
    mmu = named_geometry("skylake_sp")
    turns = six.accesses // six.quantum
    assert simulate(six, mmu).walks == 6
    assert simulate(seven, mmu).walks == 7 * turns
    assert simulate(replace(seven, tags="group"), mmu).walks == 1


def test_cores_of_a_node_share_their_l3() -> None:
    """A second core of the same node finds the shared PTE lines in the L3; one on another node goes to memory."""
    mmu = named_geometry("skylake_sp")
    near = Scenario(
        region=64 * MIB,
        processes=2,
        accesses=50_000,
        streams=(Uniform(),),
        quantum=1000,
        shared_levels=3,
        core_nodes=(0, 0),
    )
    far = replace(near, core_nodes=(0, 1))
    same_node, two_nodes = simulate(near, mmu), simulate(far, mmu)
    assert same_node.walks == two_nodes.walks
    assert same_node.table_references[0][3] < 0.6 * two_nodes.table_references[0][3]


def test_an_stlb_that_sees_only_l1_misses_would_break_the_order() -> None:
    """Why the STLB's order of use follows every access: the other rule has group tags miss more than PCIDs.

    Two processes use page 0 in turn, each followed by a fresh page. With PCIDs the two entries of page 0 push each other
    out of a two-entry L1, so the STLB keeps seeing them; with one shared entry the L1 always hits, the STLB forgets it,
    and when at last it leaves the L1 it has to be walked for again.
    """

    def walks(shared: bool, stlb_sees_hits: bool) -> int:
        l1: list[tuple[int, int]] = []
        stlb: list[tuple[int, int]] = []
        count, fresh = 0, 100
        for _ in range(20):
            accesses = []
            for _ in range(8):
                fresh += 1
                accesses += [(0, 0), (1, 0), (0, fresh)]
            fresh += 1
            accesses += [(0, fresh)]
            for process, page in accesses:
                key = (0 if shared else process, page)
                in_l1, in_stlb = key in l1, key in stlb
                count += not in_l1 and not in_stlb
                l1 = [key, *(other for other in l1 if other != key)][:2]
                if stlb_sees_hits or not in_l1:
                    stlb = [key, *(other for other in stlb if other != key)][:4]
        return count

    assert walks(shared=True, stlb_sees_hits=False) > walks(shared=False, stlb_sees_hits=False)
    assert walks(shared=True, stlb_sees_hits=True) <= walks(shared=False, stlb_sees_hits=True)
