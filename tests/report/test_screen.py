import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from mshare_bench.report.screen import print_results, rows_json
from mshare_bench.results.rows import Rows
from mshare_bench.results.savings import with_savings
from tests.results.sample import cell_of, headline, rows_of, sweep


def _printed(rows: Rows, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_results({"cells": with_savings(rows.tables()["cells"])}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 150, 200])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    long = [
        cell_of("hugetlb", variant="pmd_sharing=false"),
        cell_of("mshare", variant="interface=flag"),
        cell_of("shmem"),
    ]
    rows = [headline(), rows_of(list(sweep(engines=("sim", "real")))), rows_of(long)]
    for one in rows:
        assert max(cell_len(line.rstrip()) for line in _printed(one, width).splitlines()) <= width


@pytest.mark.parametrize("width", [80, 120, 150])
def test_every_line_says_what_it_should(width: int) -> None:
    lines = _printed(headline(), width).splitlines()
    shmem = [line.split() for line in lines if line.split()[:1] == ["shmem"]]
    mshare = [line.split() for line in lines if line.split()[:1] == ["mshare"]]
    assert len(shmem) == len(mshare) == 2
    assert shmem[0][1:6] == ["1.96", "GiB", "1.96", "GiB", "1.000"]
    assert shmem[1][1:5] == ["19.61", "GiB", "–", "–"]
    assert mshare[1][1:5] == ["2.01", "MiB", "–", "–"]
    assert "99.99" in mshare[1]
    assert any("CONFIG_MSHARE" in line for line in lines)
    assert any(line.startswith("10,000 processes that share 1 GiB") for line in lines)


def test_a_ratio_that_is_off_is_shown_as_it_is() -> None:
    rows = headline().tables()["cells"]
    at = rows.schema.get_field_index("page_table_bytes")
    doubled = [
        value * 2 if engine == "real" and value else value
        for engine, value in zip(rows["engine"].to_pylist(), rows["page_table_bytes"].to_pylist(), strict=True)
    ]
    console = Console(file=io.StringIO(), width=100)
    print_results({"cells": rows.set_column(at, rows.schema.field(at), [doubled])}, console)
    assert isinstance(console.file, io.StringIO)
    assert "2.000" in console.file.getvalue()
    assert "1.000" not in console.file.getvalue()


def test_a_sweep_is_thinned_and_says_so() -> None:
    text = _printed(rows_of(list(sweep(processes=range(1, 101)))), 100)
    assert len(text.splitlines()) < 130
    assert "more combinations of processes and region" in text


def test_nothing_done_is_said() -> None:
    assert "no answer" in _printed(rows_of([cell_of("shmem")], failing=("shmem",)), 80)


def test_json_is_the_rows() -> None:
    cells = headline().tables()["cells"]
    assert json.loads(rows_json(cells)) == cells.to_pylist()
    assert rows_json(cells.slice(0, 0)) == "[]"
