"""Cells in guests: what the kernel there shows of tables and data by node is what the model says, for every policy it has."""

from pathlib import Path
from typing import Any

import pytest

import mshare_bench
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.guest.bed import find_bed
from mshare_bench.real.guest.engine import GuestEngine, untimed
from mshare_bench.real.guest.machine import PLAIN
from mshare_bench.workloads.registry import workloads
from tests.requirements import require

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

POLICIES = ["first_touch", "interleave", "spread", "pack", "local", "round_robin", "bind"]
TABLES = ["first_touch", "interleave"]


def _needs_a_guest() -> None:
    try:
        find_bed()
    except CapabilityError as error:
        require("guest", False, str(error))


def _run(path: Path, **keys: Any) -> mshare_bench.Result:
    _needs_a_guest()
    return mshare_bench.run(
        host="guest", engine="both", tracking="none", executor="inline", out=str(path), multirun=True, **keys
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> mshare_bench.Result:
    """Every policy for data and for tables, on two nodes."""
    return _run(
        tmp_path_factory.mktemp("two") / "out",
        topology="guest_2n",
        mechanism=["shmem", "hugetlb"],
        processes=4,
        region="32MiB",
        placement=POLICIES,
        placement__tables=TABLES,
    )


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> mshare_bench.Result:
    """Four nodes, with a move of the data at the end; 18 leaf tables and two above them divide by four."""
    return _run(
        tmp_path_factory.mktemp("four") / "out",
        topology="guest_4n",
        mechanism=["shmem", "hugetlb"],
        processes=[1, 6],
        region="36MiB",
        placement=["first_touch", "interleave"],
        placement__tables=TABLES,
        placement__horizon="10s",
    )


def _by_point(result: mshare_bench.Result, engine: str) -> dict[str, dict[str, Any]]:
    cells = [row for row in result.cells.to_pylist() if row["engine"] == engine]
    found = {row["cell"]: {"cell": row, "nodes": [], "groups": []} for row in cells}
    for table in ("nodes", "groups"):
        for row in result.table(table).to_pylist():
            if row["cell"] in found:
                found[row["cell"]][table].append({key: row[key] for key in row if key != "cell"})
    return {one["cell"]["point"]: one for one in found.values()}


def _slack(column: str, cell: dict[str, Any], where: dict[str, Any], nodes: int) -> int:
    """Bytes that a node may be off: a page where interleaved ones don't divide, since their round may begin on any node."""
    if column == "page_table_bytes":
        each = where["processes"]  # every process has a round of its own
        rest = "tables=interleave" in where["placement"] and cell[column] // X86_64.page // each % nodes
        return each * X86_64.page if rest else 0
    rest = where["placement"].startswith("interleave") and cell[column] // cell["page_bytes"] % nodes
    return cell["page_bytes"] if rest else 0


def _check_places(seen: dict[str, Any], expected: dict[str, Any], where: dict[str, Any]) -> None:
    columns = ("page_table_bytes", "data_bytes")
    for one, other in zip(seen["nodes"], expected["nodes"], strict=True):
        for column in columns:
            slack = _slack(column, seen["cell"], where, len(expected["nodes"]))
            assert abs(one[column] - other[column]) <= slack, (column, where)
        assert {**one, **dict.fromkeys(columns)} == {**other, **dict.fromkeys(columns)}, where


def _check_nodes(result: mshare_bench.Result, points: int) -> None:
    simulated, real = _by_point(result, "sim"), _by_point(result, "real")
    assert set(simulated) == set(real)
    assert len(real) == points
    for point, seen in real.items():
        expected = simulated[point]
        where = {key: seen["cell"][key] for key in ("mechanism", "placement", "processes")}
        assert seen["cell"]["status"] == "ok", seen["cell"]["error"]
        _check_places(seen, expected, where)
        assert seen["groups"] == expected["groups"], where
        assert sum(row["page_table_bytes"] for row in seen["nodes"]) == seen["cell"]["page_table_bytes"]
        for column in ("page_table_bytes", "data_bytes", "minor_faults"):
            assert seen["cell"][column] == expected["cell"][column], (column, where)


def test_two_nodes_hold_what_the_model_says(two: mshare_bench.Result) -> None:
    _check_nodes(two, 2 * len(POLICIES) * len(TABLES))


def test_four_nodes_hold_what_the_model_says(four: mshare_bench.Result) -> None:
    _check_nodes(four, 2 * 2 * 2 * len(TABLES))


def test_policies_differ_in_what_the_kernel_shows(two: mshare_bench.Result) -> None:
    spread = {
        (one["cell"]["mechanism"], one["cell"]["placement"]): tuple(row["data_bytes"] for row in one["nodes"])
        for one in _by_point(two, "real").values()
    }
    assert spread["shmem", "first_touch"] == (32 * MIB, 0)
    assert spread["shmem", "interleave"] == (16 * MIB, 16 * MIB)
    assert spread["hugetlb", "first_touch;tables=interleave"] == (32 * MIB, 0)


def test_shared_pages_move_only_with_move_all(four: mshare_bench.Result) -> None:
    cells = {row["cell"]: row for row in four.cells.to_pylist()}
    rows = [row for row in four.table("migrations").to_pylist() if cells[row["cell"]]["engine"] == "real"]
    assert len(rows) == 2 * 2 * 2 * len(TABLES)
    for row in rows:
        cell = cells[row["cell"]]
        pages = row["bytes"] // cell["page_bytes"]
        refused = pages if cell["processes"] > 1 else 0
        assert (row["what"], row["from_node"], row["to_node"], row["bytes"]) == ("data", 0, 2, 36 * MIB)
        assert row["reason"].startswith(f"{pages} of {pages} pages moved with MPOL_MF_MOVE_ALL")
        assert f"refused {refused} of them (EACCES)" in row["reason"]


def test_times_of_an_emulated_processor_are_null(two: mshare_bench.Result) -> None:
    facts = {row["key"]: row["value"] for row in two.table("environments").to_pylist() if row["key"] == "accelerator"}
    if facts["accelerator"] == "kvm":
        pytest.skip("the processor is no emulated one here")
    times = [name for name in two.cells.column_names if name.endswith(("_ns", "_ns_lo", "_ns_hi"))]
    real = [row for row in two.cells.to_pylist() if row["engine"] == "real"]
    assert {row[name] for row in real for name in times} == {None}
    assert {row["basis"] for row in real} == {"measured"}
    assert {row["host"] for row in real} == {"guest"}


def test_the_environment_is_the_guests(two: mshare_bench.Result) -> None:
    real = {row["env"] for row in two.cells.to_pylist() if row["engine"] == "real"}
    facts = {row["key"]: row["value"] for row in two.table("environments").to_pylist() if row["env"] in real}
    assert len(real) == 1
    assert facts["nodes"] == "0-1"
    assert facts["numa_balancing"] == "0"
    assert facts["kernel"].endswith("cloud-amd64")
    assert facts["package_numpy"] is not None


def test_hugetlb_tables_are_shared_in_the_guest(tmp_path: Path) -> None:
    result = _run(tmp_path / "out", mechanism="hugetlb", processes=[1, 3], region="1GiB")
    real, simulated = _by_point(result, "real"), _by_point(result, "sim")
    found = {
        row["processes"]: (row["page_table_bytes"], row["minor_faults"]) for row in (x["cell"] for x in real.values())
    }
    expected = {
        row["processes"]: (row["page_table_bytes"], row["minor_faults"])
        for row in (x["cell"] for x in simulated.values())
    }
    assert found == expected
    # One PMD page for all, a PUD page each: two more processes add two pages, and one fault each.
    assert found[3][0] - found[1][0] == 2 * X86_64.page


def test_another_series_boots_and_counts_the_same(tmp_path: Path) -> None:
    result = _run(
        tmp_path / "out",
        guest__kernel="linux-image-cloud-amd64",
        mechanism="shmem",
        processes=3,
        region="32MiB",
        topology="guest_2n",
    )
    real, simulated = (next(iter(_by_point(result, engine).values())) for engine in ("real", "sim"))
    assert real["cell"]["status"] == "ok", real["cell"]["error"]
    for column in ("page_table_bytes", "data_bytes", "minor_faults"):
        assert real["cell"][column] == simulated["cell"][column]
    assert [row["data_bytes"] for row in real["nodes"]] == [row["data_bytes"] for row in simulated["nodes"]]


def _cell() -> Cell:
    point = Point(workloads()["region"].resolve(processes=2, region=MIB), "shmem", "", X86_64.page)
    return Cell(point, engine="real", host="guest", machine="none")


class _DyingGuest:
    """Takes one cell and is gone."""

    def __init__(self) -> None:
        self.closed = False

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        del message, seconds
        raise CellFailed("the guest ended; its last words: Kernel panic")

    def close(self) -> None:
        self.closed = True


def test_a_guest_that_dies_costs_its_cell_only(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, guests = GuestEngine({"here": PLAIN}), []

    def boot(_topology: str) -> _DyingGuest:
        guests.append(_DyingGuest())
        engine._guest = guests[-1]
        return guests[-1]

    monkeypatch.setattr(engine, "_guest_of", boot)
    rows = [table["cells"].to_pylist()[0] for table in engine.run([_cell(), _cell()])]
    assert [row["status"] for row in rows] == ["void", "void"]
    assert rows[0]["error"] == "the guest ended; its last words: Kernel panic"
    assert [guest.closed for guest in guests] == [True, True]


def test_a_guest_larger_than_this_machine_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    from mshare_bench.real.guard import HostRoom
    from mshare_bench.real.guest import engine as module

    monkeypatch.setattr(module, "read_host", lambda: HostRoom(GIB, "MemAvailable", 100, "pid_max"))
    (tables,) = GuestEngine({"here": PLAIN}).run([_cell()])
    row = tables["cells"].to_pylist()[0]
    assert row["status"] == "skipped"
    assert "the guest has 2 GiB of memory; MemAvailable has 1 GiB less a reserve of 4 GiB" in row["error"]


def test_untimed_keeps_counts() -> None:
    tables = untimed(
        {
            "cells": {"cell": ["a"], "touch_ns": [1.0], "touch_ns_lo": [0.5], "minor_faults": [7]},
            "samples": {"value_ns": [1.0]},
        }
    )
    assert tables == {"cells": {"cell": ["a"], "touch_ns": [None], "touch_ns_lo": [None], "minor_faults": [7]}}
