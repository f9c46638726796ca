import pyarrow as pa

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import schema
from mshare_bench.sim.engine import SimEngine
from tests.sim.mmu.geometries import named_geometry
from tests.sim.points import point


def rows_of(cells):
    return Rows.merge(list(SimEngine().run(cells)))


def test_rows_follow_the_contract_and_add_up():
    cells = [
        Cell(point(name, 7, workload=work))
        for name in ("shmem", "mshare")
        for work in ("region", "hpc_ranks", "vm_hosts")
    ]
    tables = rows_of(cells)
    assert tables["cells"].schema.equals(schema("cells"))
    regions = (
        tables["regions"]
        .group_by("cell")
        .aggregate([("page_table_bytes", "sum"), ("minor_faults", "sum"), ("data_bytes", "sum")])
    )
    by_cell = {row["cell"]: row for row in regions.to_pylist()}
    for row in tables["cells"].to_pylist():
        for column in ("page_table_bytes", "minor_faults", "data_bytes"):
            assert by_cell[row["cell"]][f"{column}_sum"] == row[column]
        assert row["pte_table_bytes"] + row["pmd_table_bytes"] + row["pud_table_bytes"] == row["page_table_bytes"]
        assert row["basis"] == "exact"


def test_a_cell_that_cannot_be_is_skipped_with_its_reason():
    (row,) = rows_of([Cell(point("hugetlb", 1, 4096))])["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert "region=4096" in row["error"]
    assert row["page_table_bytes"] is None


def test_what_was_not_modelled_is_null():
    rows = rows_of([Cell(point("shared_mm", 2, GIB)), Cell(point("ksm", 2, GIB))])["cells"].to_pylist()
    for row in rows:
        # How many CPUs are interrupted depends on how many there are, which only a cost profile tells.
        for column in ("tlb_misses", "walk_cycles", "shootdowns", "remote_walk_fraction"):
            assert row[column] is None
    assert [row["tlb_flushes"] for row in rows] == [2, None]


def test_who_is_interrupted_is_known_where_the_machine_is():
    model = CostModel.of({"name": "eight", "environment": {"cpus": "8"}, "costs": []})
    cells = [
        Cell(point("mshare", 100, GIB, interface="flag", flush=flush), cost="eight")
        for flush in ("all", "cpumask", "list")
    ]
    rows = Rows.merge(list(SimEngine(costs={"eight": model}).run(cells)))["cells"].to_pylist()
    # One protects for all 100, 13 of which are on its CPU; then each drops its own links.
    assert [(row["tlb_flushes"], row["shootdowns"]) for row in rows] == [(101, 7), (101, 7), (200, 87)]


def test_extrapolated_rows_say_so():
    (row,) = rows_of([Cell(point("shmem", 10_000, GIB), extrapolated=True)])["cells"].to_pylist()
    assert row["basis"] == "exact+extrapolated"


def test_batches_give_the_same_rows_as_one():
    cells = [Cell(point("shmem", n, GIB)) for n in range(1, 40)]
    one = pa.concat_tables([rows_of([cell])["cells"] for cell in cells])
    assert one.equals(rows_of(cells)["cells"])


def test_rows_under_an_mmu_have_misses_and_say_that_they_were_sampled():
    setting = MmuSetting(named_geometry("zen2"))
    small, large = rows_of([Cell(point("shmem", n, 4 * MIB), mmu=setting) for n in (2, 100)])["cells"].to_pylist()
    assert (small["tlb_misses"], small["mmu"], small["basis"]) == (2048, "zen2", "published")
    assert small["walk_cycles"] > 0
    assert small["remote_walk_fraction"] is None
    assert (large["tlb_misses"], large["basis"]) == (102_400, "published+sampled")
