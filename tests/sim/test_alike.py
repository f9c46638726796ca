import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import MIB, TIB
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.results.rows import Rows
from mshare_bench.sim.alike import group_alike
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.points import make_point
from mshare_bench.workloads.registry import workloads

COSTS = CostModel.of(
    {
        "name": "test",
        "environment": {"cpus": 8},
        "costs": [
            {"name": name, "value": 2e6 if name == "cache_bytes" else 10 + place, "unit": kind.unit, "source": "test"}
            for place, (name, kind) in enumerate(UNIT_COSTS.items())
        ],
    }
)


def cells(workload, populate="controller", region=64 * MIB):
    for name in mechanisms():
        for processes in (1, 2, 3, 7, 1000):
            try:
                yield Cell(make_point(name, processes, region, workload=workload, populate=populate), cost="test")
            except ConfigError:  # a page that the mechanism does not have
                continue


def rows(engine, batches):
    tables = Rows.merge([tables for batch in batches for tables in engine.run(batch)])
    return {name: sorted(map(repr, table.to_pylist())) for name, table in tables.items()}


@pytest.mark.parametrize("populate", ["controller", "first_touch"])
@pytest.mark.parametrize("workload", sorted(workloads()))
def test_cells_computed_together_are_bit_for_bit_those_computed_alone(workload, populate):
    engine, made = SimEngine(costs={"test": COSTS}), list(cells(workload, populate))
    together, alone = rows(engine, [made]), rows(engine, [[cell] for cell in made])
    for name, found in together.items():
        assert found == alone[name], name


def test_a_sweep_over_processes_is_two_patterns_one_process_and_more():
    found = group_alike([Cell(make_point("shmem", processes, 64 * MIB)) for processes in range(1, 50)])
    assert [len(one.cells) for one in found] == [1, 48]
    assert len(group_alike([Cell(make_point("shmem", 9, size * MIB)) for size in (64, 66)])) == 2


def test_slices_and_sums_beyond_64_bits_are_computed_alone():
    ranks = [Cell(make_point("shmem", processes, 64 * MIB, workload="hpc_ranks")) for processes in (8, 16)]
    huge = [Cell(make_point("anon_thp", processes, 4 * TIB)) for processes in (10**7, 2 * 10**7)]
    assert [len(one.cells) for one in group_alike([*ranks, *huge])] == [1, 1, 1, 1]
