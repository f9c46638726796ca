"""The inline executor."""

from mshare_bench.cluster.inline import InlineExecutor
from mshare_bench.domain.cells import Cells
from tests.cluster.engines import Counting, cell, here


def test_cells_run_in_order_with_the_engine_they_name() -> None:
    engines = {"sim": Counting("sim"), "real": Counting("real")}
    executor = InlineExecutor(here)
    found = list(executor.run(Cells.of([cell(1), cell(2, "real"), cell(3)]), engines))
    executor.close()
    assert [row for tables in found for row in tables["cells"]["processes"].to_pylist()] == [1, 2, 3]
    assert (engines["sim"].batches, engines["real"].batches) == ([1, 1], [1])
