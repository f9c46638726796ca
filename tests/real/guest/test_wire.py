"""Cells there and rows back, as lines."""

import json

import numpy as np
import pytest

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.topology import MachineCohort, Topology
from mshare_bench.errors import CellFailed
from mshare_bench.real.guest.machine import PLAIN
from mshare_bench.real.guest.wire import cell_from_mapping, cell_to_mapping, decode, encode, rows_from_columns
from mshare_bench.results.rows import Rows
from mshare_bench.workloads.registry import workloads


def _cell(name: str, access: AccessPattern) -> Cell:
    workload = workloads()[name].resolve(processes=6, access=access, write_fraction=0.25)
    topology = Topology("plain", (MachineCohort(PLAIN),))
    point = Point(
        workload,
        "hugetlb",
        "",
        2 << 20,
        4096,
        access,
        0.25,
        "first_touch",
        "plain",
        "bind;nodes=0:0",
        machines=topology,
    )
    return Cell(point, "real", "guest", "some", model="agent-1", repeat=3, seed=7)


@pytest.mark.parametrize("name", sorted(workloads()))
@pytest.mark.parametrize(
    "access", [AccessPattern(), AccessPattern("fraction", fraction=0.125, seed=3), AccessPattern("sparse")]
)
def test_a_cell_comes_out_as_the_same(name: str, access: AccessPattern) -> None:
    if workloads()[name].simulated_only:
        pytest.skip("is never run for real")
    cell = _cell(name, access)
    again = cell_from_mapping(decode(encode(cell_to_mapping(cell))))
    assert again.digest == cell.digest
    assert again.point.workload == cell.point.workload
    assert again.point.machines == cell.point.machines
    assert (again.repeat, again.seed) == (3, 7)


def test_another_cell_than_was_planned_is_refused() -> None:
    sent = cell_to_mapping(_cell("region", AccessPattern()))
    with pytest.raises(CellFailed, match="workload=region: the guest resolves it to another cell"):
        cell_from_mapping({**sent, "page": 4096})
    with pytest.raises(CellFailed, match="workload=of_a_plug_in: its plug-in does not go along"):
        cell_from_mapping({**sent, "workload": "of_a_plug_in"})


def test_lines_hold_plain_numbers() -> None:
    line = encode({"a": np.int64(3), "b": [np.float64(0.5), None], "c": "é"})
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"a": 3, "b": [0.5, None], "c": "é"}
    with pytest.raises(TypeError, match="object can't go over the line"):
        encode({"a": object()})


@pytest.mark.parametrize("line", [b"[   12.3] Kernel panic\n", b"3\n", b"\xff\n"])
def test_what_is_no_message_is_told(line: bytes) -> None:
    with pytest.raises(CellFailed, match="which is no message"):
        decode(line)


def test_rows_come_back_as_they_went() -> None:
    rows = Rows()
    rows.add("nodes", cell="a", repeat=0, machine="m", node=0, data_bytes=5)
    rows.add("nodes", cell="a", repeat=0, machine="m", node=1)
    again = rows_from_columns(decode(encode(rows.columns())))
    assert again.columns() == rows.columns()
    assert again.tables()["nodes"].equals(rows.tables()["nodes"])
