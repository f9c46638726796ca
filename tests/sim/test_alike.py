import contextlib
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import GIB, KIB, MIB, TIB
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.results.rows import Rows
from mshare_bench.sim.alike import group_alike
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.points import make_point
from mshare_bench.workloads.registry import workloads


def profile(name, keep=lambda place: True, environment=None):
    """Prices that are no whole numbers, so that the order in which times are added up shows."""
    costs = [
        {
            "name": cost,
            "value": 2e6 + 0.1 if cost == "cache_bytes" else 10.1 + place / 7,
            "unit": kind.unit,
            "source": "test",
        }
        for place, (cost, kind) in enumerate(UNIT_COSTS.items())
        if keep(place)
    ]
    return CostModel.of({"name": name, "environment": environment or {}, "costs": costs})


COSTS = {
    one.name: one
    for one in (
        profile("test", environment={"cpus": 8}),
        profile("no_cpus"),
        profile("half", keep=lambda place: place % 2, environment={"cpus": 3}),
    )
}


def cells(workload, populate="controller"):
    sweep = [(64 * MIB, processes, 0) for processes in (1, 2, 3, 7, 1000)]
    sweep += itertools.product((66 * MIB, 64 * MIB + 20 * KIB, 300 * MIB + 4 * KIB), (3, 7), (0, 36 * KIB))
    for name, (region, processes, offset) in itertools.product(mechanisms(), sweep):
        with contextlib.suppress(ConfigError):  # a page that the mechanism does not have
            point = make_point(name, processes, region, workload=workload, populate=populate, offset=offset)
            yield Cell(point, cost="test")


def rows(engine, batches):
    tables = Rows.merge([tables for batch in batches for tables in engine.run(batch)])
    return {name: sorted(map(repr, table.to_pylist())) for name, table in tables.items()}


@pytest.mark.parametrize("populate", ["controller", "first_touch"])
@pytest.mark.parametrize("workload", sorted(workloads()))
def test_cells_computed_together_are_bit_for_bit_those_computed_alone(workload, populate):
    engine, made = SimEngine(costs=COSTS), list(cells(workload, populate))
    together, alone = rows(engine, [made]), rows(engine, [[cell] for cell in made])
    for name, found in together.items():
        assert found == alone[name], name


MECHANISMS = (
    *((name, {}) for name in mechanisms()),
    ("hugetlb", {"pmd_sharing": False}),
    ("inherit", {"memory": "shared"}),
    ("inherit", {"tables": "shared", "accounting": "kernel"}),
    *(("mshare", {"interface": interface}) for interface in ("flag", "ideal", "module")),
    *(("mshare", {"interface": interface, "mapping": "private"}) for interface in ("flag", "ideal")),
    ("mshare", {"interface": "module", "start": "fork"}),
    ("mshare", {"flush": "list"}),
    ("mshare", {"flush": "cpumask"}),
)
PATTERNS = (
    None,
    AccessPattern("dense"),
    AccessPattern("sparse"),
    AccessPattern("stride", step=48 * KIB),
    AccessPattern("fraction", fraction=0.3, seed=5),
    AccessPattern("zipf"),
    AccessPattern("hotset", fraction=0.2, cold=0.1),
)


@st.composite
def makes(draw):
    """Cells of one make: sizes, counts and offsets of any kind, everything else the same."""
    mechanism, options = draw(st.sampled_from(MECHANISMS))
    common = {
        "workload": draw(st.sampled_from(sorted(set(workloads()) - {"fleet"}))),
        "access": draw(st.sampled_from(PATTERNS)),
        "write_fraction": draw(st.sampled_from((None, 0.0, 0.35, 1.0))),
        "populate": draw(st.sampled_from(("controller", "controller", "first_touch"))),
        "options": options,
    }
    offsets = draw(st.sets(st.sampled_from((0, 4 * KIB, 36 * KIB, 2 * MIB, GIB + 20 * KIB)), min_size=1, max_size=2))
    cost = draw(st.sampled_from(("", *COSTS)))
    # What is written out process by process, or page by page, is kept small.
    listed = common["populate"] == "first_touch" or common["access"] is not None or max(offsets)
    sizes = draw(st.lists(st.integers(16, 3000 if listed else 3_000_000), min_size=1, max_size=4))
    unit = draw(st.sampled_from((4 * KIB, 4 * KIB, 2 * MIB)))
    counts = draw(st.lists(st.integers(1, 60 if listed else 5000), min_size=1, max_size=3))
    found = []
    for offset, processes, size in itertools.product(sorted(offsets), counts, sizes):
        region = -(-size * 4 * KIB // unit) * unit
        with contextlib.suppress(ConfigError):  # fewer pages than ranks, a page that the mechanism does not have
            point = make_point(mechanism, processes, region, offset=offset, **common)
            found.append(Cell(point, cost=cost, repeat=draw(st.integers(0, 1))))
    return found


@given(st.lists(makes(), min_size=1, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_any_mix_of_cells_is_computed_bit_for_bit_as_each_of_them_alone(made, random):
    mixed = [cell for one in made for cell in one]
    random.shuffle(mixed)
    engine = SimEngine(costs=COSTS)
    together, alone = rows(engine, [mixed]), rows(engine, [[cell] for cell in mixed])
    assert together.keys() == alone.keys()
    for name, found in together.items():
        assert found == alone[name], name


def test_a_sweep_over_processes_and_sizes_is_one_make():
    sweep = [Cell(make_point("shmem", count, size * MIB)) for count in range(1, 50) for size in (64, 66, 70)]
    found = group_alike(sweep)
    assert [(len(one.cells), one.shape) for one in found] == [(147, (3, 49))]
    assert sorted(cell.digest for one in found for cell in one.cells) == sorted(cell.digest for cell in sweep)
    assert len(group_alike([Cell(make_point("shmem", 9, 64 * MIB, offset=offset * MIB)) for offset in (0, 2)])) == 2


def test_numbers_of_each_cell_are_in_its_place_whatever_the_gaps_in_the_sweep():
    sweep = [Cell(make_point("shmem", count, size * MIB)) for count, size in ((5, 64), (2, 66), (3, 64), (9, 70))]
    (found,) = group_alike(sweep)
    assert found.shape == (3, 2)
    workload = found.point.workload
    assert found.column(workload.processes).tolist() == [cell.point.workload.processes for cell in found.cells]
    assert found.column(workload.region_bytes).tolist() == [cell.point.workload.region_bytes for cell in found.cells]


def test_cells_that_go_different_ways_part_and_each_goes_its_own_way_after_too_many_partings():
    (found,) = group_alike([Cell(make_point("thp", 4, size * MIB + size % 2 * 4 * KIB)) for size in range(64, 72)])
    parts = list(found.parted(found.point.workload.region_bytes % (2 * MIB)))
    assert [len(one.cells) for one in parts] == [4, 4]
    assert [len(one.cells) for one in parts[0].parted(np.zeros((4, 1)))] == [1, 1, 1, 1]
    assert [one.point for one in parts[0].alone()] == [cell.point for cell in parts[0].cells]


def test_slices_are_computed_together_and_sums_beyond_64_bits_alone():
    ranks = [Cell(make_point("shmem", processes, 64 * MIB, workload="hpc_ranks")) for processes in (8, 16)]
    huge = [Cell(make_point("anon_thp", processes, 4 * TIB)) for processes in (10**7, 2 * 10**7)]
    assert [len(one.cells) for one in group_alike([*ranks, *huge])] == [2, 1, 1]


def test_workloads_from_another_process_are_looked_at_anew():
    sweep = [Cell(make_point("shmem", 4, size * MIB, workload="hpc_ranks"), cost="test") for size in (64, 66, 70)]
    (found,) = group_alike(sweep)
    sent = pickle.loads(pickle.dumps(sweep))
    assert sent[0].point.workload == sweep[0].point.workload
    assert sent[0].point.workload._make is None
    assert sweep[0].point.workload._make is not None
    engine = SimEngine(costs=COSTS)
    assert rows(engine, [sent]) == rows(engine, [[cell] for cell in sweep])
    assert found.shape == (3, 1)
