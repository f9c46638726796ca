"""One batch: stamped rows, and a defect that costs one cell only."""

import pytest

from mshare_bench.cluster.batch import batches, failed, run_batch, run_packed
from mshare_bench.domain.cells import Cells
from mshare_bench.results.files import unpack
from tests.cluster.engines import Counting, cell, here


def test_rows_are_stamped_with_the_environment() -> None:
    tables = run_batch([cell(1), cell(2)], Counting(), here())
    assert tables["cells"]["env"].to_pylist() == [here().env] * 2
    assert tables["environments"].to_pylist() == [
        {"env": here().env, "machine": "machine", "key": "cpu", "value": None},
        {"env": here().env, "machine": "machine", "key": "kernel", "value": "6.1"},
    ]


def test_an_engine_that_raises_costs_the_cell_that_made_it_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    cells = run_batch([cell(n) for n in (1, 2, 3)], Counting(raises_at=2), here())["cells"]
    assert cells["status"].to_pylist() == ["ok", "failed", "ok"]
    assert cells["error"].to_pylist() == [None, "ValueError: a defect of the engine", None]
    assert "3 cells together raised ValueError: a defect of the engine; each is run for itself" in " ".join(
        caplog.text.split()
    )


def test_failed_rows() -> None:
    cells = failed([cell(4)], "the worker\n died", here())["cells"]
    assert (cells["status"].to_pylist(), cells["error"].to_pylist()) == (["failed"], ["the worker died"])
    assert cells["page_table_bytes"].to_pylist() == [None]


def test_packed_rows_are_the_same() -> None:
    cells = [cell(1), cell(2)]
    tables = run_batch(cells, Counting(), here())
    found = unpack(run_packed(cells, Counting(), here())).tables()
    assert {name: table for name, table in tables.items() if table.num_rows} == found


def test_simulated_cells_of_one_size_come_together() -> None:
    cells = [cell(n, region=size) for n in (1, 2) for size in (1 << 21, 1 << 20)]
    found = [[one.point.workload.region_bytes for one in batch] for _, batch in batches(Cells.of(cells), simulated=2)]
    assert found == [[1 << 20] * 2, [1 << 21] * 2]


def test_batches_keep_the_order_and_real_cells_alone() -> None:
    cells = [cell(1), cell(2), cell(3), cell(1, "real"), cell(2, "real"), cell(4)]
    found = [
        (engine, [one.point.workload.processes for one in batch])
        for engine, batch in batches(Cells.of(cells), simulated=2)
    ]
    assert found == [("sim", [1, 2]), ("sim", [3]), ("real", [1]), ("real", [2]), ("sim", [4])]
