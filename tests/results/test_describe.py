"""The columns that say what a cell is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.results.describe import alike_columns, cell_columns, coordinate_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import field_names
from mshare_bench.sim.points import make_point
from tests.results.sample import cell_of


def test_a_prediction_and_a_measurement_of_a_point_pair_up_and_nothing_else_does() -> None:
    sim, real = (coordinate_columns(cell_of("thp", 10, GIB, engine=engine)) for engine in ("sim", "real"))
    assert sim["point"] == real["point"]
    assert sim["baseline_point"] == real["baseline_point"]
    assert (sim["engine"], real["engine"]) == ("sim", "real")
    for other in (cell_of("thp", 11, GIB), cell_of("thp", 10, 2 * GIB), cell_of("thp", 10, GIB, access="sparse")):
        columns = coordinate_columns(other)
        assert columns["point"] != sim["point"] and columns["baseline_point"] != sim["baseline_point"]


def test_savings_are_taken_against_shmem_of_the_same_baseline_point_whatever_the_options_are() -> None:
    options = ({}, {"interface": "flag"}, {"flush": "list"})
    cells = [cell_of("shmem"), *(Cell(make_point("mshare", 10, GIB, options=one)) for one in options)]
    rows = [coordinate_columns(one) for one in cells]
    assert len({row["point"] for row in rows}) == 4
    assert len({row["baseline_point"] for row in rows[1:]}) == 1


def test_every_column_is_in_the_contract_and_says_what_the_cell_is() -> None:
    cell = Cell(
        make_point(
            "mshare",
            7,
            64 * MIB,
            offset=512 * GIB * 0,
            access="zipf",
            write_fraction=0.5,
            options={"interface": "flag"},
        )
    )
    row = cell_columns(cell, "failed", "an agent died")
    assert set(row) <= set(field_names("cells"))
    assert (row["mechanism"], row["variant"], row["processes"], row["region_bytes"]) == (
        "mshare",
        "interface=flag",
        7,
        64 * MIB,
    )
    assert (row["access"], row["write_fraction"], row["populate"]) == ("zipf", 0.5, "controller")
    assert (row["status"], row["error"]) == ("failed", "an agent died")
    assert json.loads(row["access_params"]) == dict(cell.point.access.params)
    assert row["cost"] is None and row["mmu"] is None


@settings(max_examples=20)
@given(counts=st.lists(st.integers(1, 10_000), min_size=1, max_size=6, unique=True), repeats=st.integers(1, 3))
def test_cells_that_are_alike_are_described_at_once_as_one_by_one(counts: list[int], repeats: int) -> None:
    cells = [replace(cell_of("thp", count), repeat=repeat) for count in counts for repeat in range(repeats)]
    together, one_by_one = Rows(), Rows()
    together.extend("cells", len(cells), **alike_columns(cells))
    for cell in cells:
        one_by_one.add("cells", **cell_columns(cell))
    assert together.tables()["cells"].equals(one_by_one.tables()["cells"])


@pytest.mark.parametrize("name", ["repeat", "processes"])
def test_numbers_of_alike_cells_are_whole_numbers(name: str) -> None:
    column = alike_columns([cell_of("thp", 1), cell_of("thp", 2)])[name]
    assert isinstance(column, np.ndarray) and column.dtype == np.int64
