"""Rows of a fleet's day: they add up, and agree with a direct count of single machines and single events."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.topology import MachineCohort, Topology
from mshare_bench.placement.fleet import group_bytes, make_day
from mshare_bench.sim.accounting import account
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.fleet import SLOTS, groups_of
from mshare_bench.sim.points import make_point
from mshare_bench.workloads.fleet import KINDS
from tests.placement.test_fleet import count_directly
from tests.sim.test_places import GIB, topology

MACHINES = 50
PROCESSES = 58_640
"""All tenants' at the busiest hours, for fifty machines."""


def fleet(mechanism: str, processes: int = PROCESSES) -> Point:
    hundred = topology("cluster_100")
    small = Topology("fifty", (MachineCohort(hundred.cohorts[0].machine, MACHINES),), hundred.network)
    point = make_point(mechanism, processes, 1180 * GIB * processes // 11_728, workload="fleet")
    return replace(point, topology="fifty", machines=small)


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, pa.Table]]:
    return {
        mechanism: dict(next(iter(SimEngine().run([Cell(fleet(mechanism))]))))
        for mechanism in ("shmem", "mshare", "hugetlb")
    }


@pytest.mark.parametrize("mechanism", ["shmem", "mshare", "hugetlb"])
def test_long_tables_add_up_to_the_busiest_moment(rows: dict[str, dict[str, pa.Table]], mechanism: str) -> None:
    tables = rows[mechanism]
    (summary,) = tables["cells"].to_pylist()
    assert summary["status"] == "ok"
    assert summary["basis"] == "hypothetical"
    for column in ("page_table_bytes", "pte_table_bytes", "pmd_table_bytes", "pud_table_bytes", "data_bytes"):
        assert pc.sum(tables["regions"][column]).as_py() == summary[column]
    assert pc.max(tables["fleet"]["page_table_bytes"]).as_py() == summary["page_table_bytes"]
    levels = sum(summary[f"{level}_table_bytes"] for level in ("pte", "pmd", "pud"))
    assert levels == summary["page_table_bytes"]
    assert tables["fleet"]["slot"].to_pylist() == list(range(SLOTS))
    moves = tables["migrations"].to_pylist() if "migrations" in tables else []
    assert sum(row["bytes"] for row in moves) == pc.sum(tables["fleet"]["moved_bytes"]).as_py()
    assert pc.max(tables["fleet"]["machines"]).as_py() <= MACHINES


@pytest.mark.parametrize("mechanism", ["shmem", "mshare"])
def test_a_group_has_the_tables_that_its_mechanism_gives_it(mechanism: str) -> None:
    point = fleet(mechanism)
    tenants, shared = groups_of(point)
    assert shared == (mechanism == "mshare")
    for tenant, kind in zip(tenants, KINDS, strict=True):
        alone = make_point(mechanism, kind.processes, kind.shared_bytes)
        assert group_bytes(tenant, shared)[1] == account(alone).page_table_bytes
        assert tenant.shared_bytes == kind.shared_bytes


@pytest.mark.parametrize("mechanism", ["shmem", "mshare"])
def test_fifty_machines_are_what_a_direct_count_of_events_gives(
    rows: dict[str, dict[str, pa.Table]], mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = fleet(mechanism)
    assert point.machines is not None
    tenants, shared = groups_of(point)
    monkeypatch.setattr("tests.placement.test_fleet.TENANTS", tenants)
    day = make_day(tenants, slots=SLOTS, seed=0)
    direct = count_directly(point.machines, day[:60], shared, 12)
    found = rows[mechanism]["fleet"].slice(0, 60)
    for column in ("machines", "groups", "moves", "rejected"):
        assert found[column].to_pylist() == direct[column]
    memory = pc.add(found["data_bytes"], found["page_table_bytes"]).to_pylist()
    assert memory == direct["memory"]


def test_sharing_saves_machines_and_the_same_groups_run(rows: dict[str, dict[str, pa.Table]]) -> None:
    apart, shared = rows["shmem"]["fleet"], rows["mshare"]["fleet"]
    assert apart["groups"].to_pylist() == shared["groups"].to_pylist()
    assert apart["data_bytes"].to_pylist() == shared["data_bytes"].to_pylist()
    assert pc.sum(shared["machines"]).as_py() < pc.sum(apart["machines"]).as_py()


def test_without_a_topology_a_fleet_is_counted_like_any_workload() -> None:
    (tables,) = SimEngine().run([Cell(make_point("shmem", 11_728, workload="fleet"))])
    assert "fleet" not in tables
    assert tables["cells"]["status"].to_pylist() == ["ok"]
