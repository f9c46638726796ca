"""Which executor runs a plan."""

import pytest

from mshare_bench.cluster.choose import choose_executor
from mshare_bench.config.settings import ClusterSettings
from mshare_bench.domain.cells import Cells
from tests.cluster.engines import Counting, cell, here


@pytest.mark.parametrize(
    ("asked", "cells", "address", "chosen"),
    [
        ("inline", 500, "1.2.3.4:5", "inline"),
        ("ray", 1, None, "ray"),
        ("auto", 50, None, "inline"),  # 50 cells of 0.1 s
        ("auto", 150, None, "ray"),
        ("auto", 1, "1.2.3.4:5", "ray"),
    ],
)
def test_auto_takes_ray_where_it_pays(asked: str, cells: int, address: str | None, chosen: str) -> None:
    plan = Cells.of([cell(1)] * cells)
    found = choose_executor(asked, plan, {"sim": Counting()}, ClusterSettings(address), here)
    assert found.name == chosen


def test_real_cells_do_not_count() -> None:
    plan = Cells.of([cell(1, "real")] * 500)
    assert choose_executor("auto", plan, {"real": Counting("real")}, ClusterSettings(), here).name == "inline"
