"""Rows of a placed cell: long tables add up to the summary, machines have names."""

import pyarrow.compute as pc
import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.placed_rows import machine_name
from tests.sim.test_places import placed, topology


@pytest.mark.parametrize("mechanism", ["shmem", "mshare"])
@pytest.mark.parametrize("placement", ["first_touch", "spread;tables=replicate", "optimal"])
def test_long_tables_add_up_to_the_summary(mechanism: str, placement: str) -> None:
    cell = Cell(placed("cluster_4", placement, mechanism, processes=24, workload="db_buffer_pool"))
    (tables,) = SimEngine().run([cell])
    (summary,) = tables["cells"].to_pylist()
    for table in ("nodes", "groups"):
        assert pc.sum(tables[table]["processes"]).as_py() == summary["processes"] == 24
        assert set(tables[table]["cell"].to_pylist()) == {summary["cell"]}
    for table in ("nodes", "regions"):
        for column in ("data_bytes", "page_table_bytes"):
            assert pc.sum(tables[table][column]).as_py() == summary[column]
    assert pc.sum(tables["regions"]["minor_faults"]).as_py() == summary["minor_faults"]
    assert summary["placement"] == placement
    assert 0 <= summary["remote_walk_fraction"] <= 1


def test_a_cell_without_topology_has_no_nodes_and_no_remote_walks() -> None:
    from mshare_bench.sim.points import make_point

    (tables,) = SimEngine().run([Cell(make_point("shmem", 4))])
    assert "nodes" not in tables
    assert tables["cells"]["remote_walk_fraction"].to_pylist() == [None]
    assert tables["groups"]["node"].to_pylist() == [None]


def test_no_room_is_a_skipped_row_that_says_what_is_missing() -> None:
    cell = Cell(placed("guest_2n", "first_touch", region=4 << 30))
    (tables,) = SimEngine().run([cell])
    (row,) = tables["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert "guest_2n has 1.5 GiB" in row["error"]


def test_machines_of_a_cluster_are_told_apart_by_their_number() -> None:
    assert machine_name(topology("xeon_2s"), 0) == "ice_lake_2s"
    assert machine_name(topology("cluster_4"), 3) == "ice_lake_2s:3"
