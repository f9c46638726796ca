"""What a plan takes, from a few of its cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.cluster.estimate import serial_seconds
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Estimate
from tests.cluster.engines import Counting, cell


class Asked(Counting):
    """Takes a second per process, and counts how often it was asked."""

    asked = 0

    def estimate(self, cell: Cell) -> Estimate:
        self.asked += 1
        return Estimate(float(cell.point.workload.processes), 0, 0)


def test_estimate_is_of_simulated_cells() -> None:
    assert serial_seconds(Cells.of([cell(1)] * 30 + [cell(1, "real")] * 30), {"sim": Counting()}) == pytest.approx(3.0)
    assert serial_seconds(Cells.of([cell(1)]), {}) == 0.0


@given(count=st.integers(1, 400))
def test_few_cells_are_asked_and_where_all_are_alike_the_sum_is_right(count: int) -> None:
    engine = Asked()
    assert serial_seconds(Cells.of([cell(3)] * count), {"sim": engine}) == pytest.approx(3.0 * count)
    assert engine.asked <= 32


def test_a_plan_that_grows_is_estimated_from_all_along_it() -> None:
    """Were only its first cells asked, 1,000 cells of 1 to 1,000 processes would seem to take next to nothing."""
    cells = Cells.of([cell(count) for count in range(1, 1001)])
    assert serial_seconds(cells, {"sim": Asked()}) == pytest.approx(sum(range(1, 1001)), rel=0.1)
