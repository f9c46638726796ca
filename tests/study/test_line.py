"""The whole line, through the public API."""

import itertools
from pathlib import Path
from typing import Any

import pytest

import mshare_bench
import mshare_bench.study
from mshare_bench.domain.cell import Cell
from mshare_bench.real.engine import RealEngine
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_environment_is_recorded_once(tmp_path: Path) -> None:
    result = mshare_bench.run(mechanism=["shmem", "thp"], processes=2, tracking="none", out=tmp_path / "o")
    facts = result.table("environments").to_pylist()
    assert {row["env"] for row in facts} == set(result.cells["env"].to_pylist())
    assert len(facts) == len({row["key"] for row in facts})
    assert {"kernel", "cpu", "python"} <= {row["key"] for row in facts}


def test_only_what_is_missing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    run = SimEngine.run

    def counted(self: SimEngine, cells: Any) -> Any:
        ran.append(len(cells))
        return run(self, cells)

    monkeypatch.setattr(SimEngine, "run", counted)
    common: dict[str, Any] = {"mechanism": "shmem", "tracking": "none", "out": tmp_path / "o"}
    mshare_bench.run(processes=[1, 2], **common)
    mshare_bench.run(processes=[1, 2, 3], **common)
    mshare_bench.run(processes=[1, 2, 3], **common)
    assert ran == [2, 1]
    assert sorted(mshare_bench.load(tmp_path / "o").cells["processes"].to_pylist()) == [1, 2, 3]


def test_warm_ups_run_first_and_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def gather(self: RealEngine, cell: Cell) -> Rows:
        ran.append((cell.point.mechanism, cell.repeat))
        rows = Rows()
        rows.add("cells", **cell_columns(cell))
        return rows

    monkeypatch.setattr(RealEngine, "gather", gather)
    common: dict[str, Any] = {"engine": "real", "mechanism": ["shmem", "thp"], "processes": 2, "tracking": "none"}
    for repeats in (1, 3):
        mshare_bench.run(warmups=2, repeats=repeats, executor="inline", out=tmp_path / "o", **common)
    before, after = [("shmem", -2), ("thp", -2), ("shmem", -1), ("thp", -1)], [("shmem", 0), ("thp", 0)]
    again = [(name, repeat) for repeat in (1, 2) for name in ("shmem", "thp")]
    assert ran == [*before, *after, *before, *again]  # a run that goes on warms up as well
    cells = mshare_bench.load(tmp_path / "o").cells
    assert sorted(zip(cells["mechanism"].to_pylist(), cells["repeat"].to_pylist(), strict=True)) == sorted(
        after + again
    )


def test_executors_give_the_same_bytes(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "workload": ["region", "hpc_ranks"], "mechanism": "all", "processes": [1, 50], "region": "64MiB", "tracking": "none",
    }  # fmt: skip
    for executor in ("inline", "ray"):
        mshare_bench.run(executor=executor, out=tmp_path / executor, **keys)
    files = sorted(path.name for path in (tmp_path / "inline").glob("*.arrow"))
    assert "cells.arrow" in files
    for name in files:
        assert (tmp_path / "inline" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name


def test_results_go_to_a_folder_of_their_own() -> None:
    paths = [mshare_bench.run(mechanism="shmem", processes=1, tracking="none").path for _ in range(2)]
    assert paths[0] != paths[1]
    assert {path.parent for path in paths} == {Path("mshare-runs")}
    assert all(path.name.split("-")[2] == "region" for path in paths)


SWEEP = {
    "workload": ["region", "db_buffer_pool", "hpc_ranks"],
    "mechanism": ["shmem", "thp", "mshare"],
    "processes": [1, 3, 100],
    "region": ["64MiB", "66MiB", "1GiB"],
}


def rows(result: mshare_bench.study.Result) -> dict[str, dict[str, Any]]:
    """Rows of `cells` by cell, without what depends on the other cells of a run."""
    ignored = ("sweep", "page_table_saved_bytes")
    return {
        row["cell"]: {key: value for key, value in row.items() if key not in ignored}
        for row in result.cells.to_pylist()
    }


def test_cells_derived_without_a_compose_are_those_composed_one_by_one(tmp_path: Path) -> None:
    derived = rows(mshare_bench.run(**SWEEP, tracking="none", out=tmp_path / "sweep"))
    choices = list(itertools.product(*SWEEP.values()))
    assert len(derived) == len(choices)
    for number, choice in enumerate(choices[::9]):
        texts = [f"{key}={value}" for key, value in zip(SWEEP, choice, strict=True)]
        ((cell, row),) = rows(mshare_bench.run(*texts, tracking="none", out=tmp_path / str(number))).items()
        assert derived[cell] == row


def test_a_store_is_the_same_bytes_in_whatever_order_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mshare_bench.run(**SWEEP, tracking="none", executor="inline", out=tmp_path / "one")
    monkeypatch.setattr("mshare_bench.sim.engine._BATCH", 7)
    mshare_bench.run("sweep.order=random", **SWEEP, tracking="none", executor="inline", out=tmp_path / "other")
    for path in (tmp_path / "one").glob("*.arrow"):
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
