"""The whole line, through the public API."""

import itertools
from pathlib import Path
from typing import Any

import pytest

import mshare_bench
from mshare_bench.config.request import read_request
from mshare_bench.errors import ConfigError
from mshare_bench.sim.engine import SimEngine
from mshare_bench.study import Silent, outlook, plan_of

pytestmark = pytest.mark.usefixtures("own_folder")


def test_run_and_load_give_the_same_rows(tmp_path: Path) -> None:
    result = mshare_bench.run(
        mechanism=["shmem", "mshare"], processes=[1, 10], region="64MiB", tracking="none", out=tmp_path / "o"
    )
    assert result.statuses == {"ok": 4}
    loaded = mshare_bench.load(tmp_path / "o")
    assert loaded.cells.equals(result.cells)
    assert loaded.table("groups")["processes"].to_pylist() == result.table("groups")["processes"].to_pylist()
    saved = {(row["mechanism"], row["processes"]): row["page_table_saved_bytes"] for row in loaded.cells.to_pylist()}
    # One process saves nothing; ten share what one needs.
    one = 32 * 4096 + 2 * 4096
    assert saved == {("shmem", 1): 0, ("mshare", 1): 0, ("shmem", 10): 0, ("mshare", 10): 9 * one}


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


def test_a_newer_model_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["mechanism=shmem", "processes=3", "tracking=none", f"out={tmp_path}/o"]
    mshare_bench.run(*command)
    assert [row["state"] for row in outlook(read_request(command))] == ["done"]
    monkeypatch.setattr(SimEngine, "model", "newer")
    assert [row["why"] for row in outlook(read_request(command))] == ["stored under other models or cost profile"]


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


def test_an_address_that_is_none_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ftp://nowhere"):
        mshare_bench.run(mechanism="shmem", tracking__uri="ftp://nowhere", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_real_processes_are_lowered_to_what_fits_and_the_region_is_not() -> None:
    said: list[str] = []
    request = read_request(["real.processes=4000000"])
    plan = plan_of(request, said.append)
    real = [cell for cell in plan.cells if cell.engine == "real"]
    (count,) = {cell.point.workload.processes for cell in real}
    assert 1 <= count < 4_000_000
    assert {cell.point.workload.region_bytes for cell in plan.cells} == {1 << 30}
    assert said and f"{count} fit" in said[0]
    largest = plan_of(read_request(["real.processes=max"]))
    (most,) = {cell.point.workload.processes for cell in largest.cells if cell.engine == "real"}
    assert most == pytest.approx(count, rel=0.2)  # what is free changes meanwhile


def test_predicted_and_real_cells_of_the_headline_pair_up() -> None:
    plan = plan_of(read_request(["real.processes=4"]))
    sim, real = ({c.point.digest for c in plan.cells if c.engine == engine} for engine in ("sim", "real"))
    assert real and real <= sim
    assert all(cell.extrapolated == (cell.point.workload.processes == 10_000) for cell in plan.cells)


def test_silence() -> None:
    silent = Silent()
    assert silent.note("x") is None and silent.finished({}) is None


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
