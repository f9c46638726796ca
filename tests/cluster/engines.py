"""Engines for the tests of executors."""

from collections.abc import Iterator, Sequence

from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.workloads.registry import workloads


class Counting:
    """Gives a row per cell; raises, or ends its process, at a count of processes that it can't stand."""

    model = "1"

    def __init__(self, name: str = "sim", raises_at: int = -1, dies_at: int = -1) -> None:
        self.name = name
        self.raises_at = raises_at
        self.dies_at = dies_at
        self.batches: list[int] = []

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        self.batches.append(len(cells))
        rows = Rows()
        for cell in cells:
            processes = cell.point.workload.processes
            if processes == self.raises_at:
                raise ValueError("a defect\nof the engine")
            if processes == self.dies_at:
                import os

                os._exit(9)
            rows.add("cells", **cell_columns(cell), page_table_bytes=processes * 4096)
        yield rows.tables()

    def estimate(self, cell: Cell) -> Estimate:
        return Estimate(0.1, 0, 0)


def cell(processes: int, engine: str = "sim", region: int | None = None) -> Cell:
    workload = workloads()["region"].resolve(processes=processes, region=region)
    return Cell(Point(workload, "shmem", "", 4096), engine=engine)  # type: ignore[arg-type]


def here() -> Where:
    return Where("machine", {"kernel": "6.1", "cpu": None})
