import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from rich.cells import cell_len
from rich.console import Console

from mshare_bench.report.comparison import comparison_json, print_comparison
from mshare_bench.results.compare import Comparison, compare
from mshare_bench.results.store import Store
from tests.results.sample import cell_of, rows_of


def _compared(path: Path) -> Comparison:
    stores = []
    for name, factor in (("before", 1), ("after", 2)):
        tables = rows_of([cell_of("shmem"), cell_of("hugetlb", engine="real")]).tables()
        cells = tables["cells"]
        for column in ("page_table_bytes", "data_bytes"):
            at = cells.schema.get_field_index(column)
            by = factor if column == "page_table_bytes" else 1 / factor
            values = [int(value * by) for value in cells[column].to_pylist()]
            cells = cells.set_column(at, cells.schema.field(at), pa.array(values))
        facts = [
            row | {"value": f"6.{factor}" if row["key"] == "kernel" else row["value"]}
            for row in tables["environments"].to_pylist()
        ]
        environments = pa.Table.from_pylist(facts, tables["environments"].schema)
        with Store.create(path / name, name) as store:
            store.append({**tables, "cells": cells, "environments": environments})
        stores.append(Store.open(path / name))
    return compare(*stores, across=["kernel"])


@pytest.mark.parametrize("width", [80, 120])
def test_changes_come_worst_first_with_their_environment(tmp_path: Path, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(_compared(tmp_path), ("before", "after"), 0.05, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width
    assert text.index("+100.0 %") < text.index("-50.0 %")
    assert "20.08 MiB" in text
    assert "kernel kernel: 6.1 → 6.2" in text
    words = " ".join(text.split())
    assert "2 worse, 2 better" in words
    assert "2 worse by more than 5 %" in words
    assert "unclear, as they have too few repeats" in words


def test_json_holds_everything(tmp_path: Path) -> None:
    found = _compared(tmp_path)
    read = json.loads(comparison_json(found))
    assert len(read["differences"]) == len(found.differences)
    assert {one["verdict"] for one in read["differences"]} == {"worse", "better", "same", "unclear"}
    assert read["facts"][0]["key"] == "kernel"


@pytest.mark.parametrize(
    ("turns", "drift", "said"),
    [
        (True, None, "11 figures compared, 4 by repeats that took turns: 1 worse, 0 better."),
        (False, None, "0 worse, 0 better; 4 times unclear (up to 50% apart), as the runs did not take turns"),
        (False, 0.1, "4 beyond a drift of 10%, as the runs did not take turns: 1 worse, 0 better."),
    ],
)
def test_a_sentence_says_how_times_were_compared(tmp_path: Path, turns: bool, drift: float | None, said: str) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_comparison(_timed(tmp_path, turns, drift), ("a", "b"), console=console)
    assert isinstance(console.file, io.StringIO)
    assert said in " ".join(console.file.getvalue().split())


def _timed(path: Path, turns: bool, drift: float | None) -> Comparison:
    """Eight repeats on each side, touch half as long again in the second."""
    stores = []
    for side in (0, 1):
        cells = [cell_of("shmem", engine="real", repeat=repeat) for repeat in range(8)]
        tables = rows_of(cells, jitter=0.01).tables()
        began = [2 * repeat + side if turns else 8 * side + repeat for repeat in range(8)]
        slower = [value * (1.5 if side else 1) for value in tables["cells"]["touch_ns"].to_pylist()]
        for column, values in (("started_ns", began), ("touch_ns", slower)):
            at = tables["cells"].schema.get_field_index(column)
            field = tables["cells"].schema.field(at)
            tables["cells"] = tables["cells"].set_column(at, field, pa.array(values, field.type))
        with Store.create(path / str(side), "x") as store:
            store.append(tables)
        stores.append(Store.open(path / str(side)))
    return compare(*stores, drift=drift)
