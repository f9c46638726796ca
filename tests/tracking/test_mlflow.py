import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.results.rows import Rows
from mshare_bench.results.store import Store
from mshare_bench.tracking.mlflow import MlflowTracker
from mshare_bench.tracking.place import Place
from mshare_bench.tracking.server import serve
from tests.results.sample import COLORS, cell_of, headline, rows_of, sweep


def _store(path: Path, rows: Rows | None = None) -> Store:
    store = Store.create(path, path.name, config={"experiment": "headline"})
    store.append((rows or headline()).tables())
    store.compact()
    return store


def _runs(uri: str, name: str = "mshare-bench") -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an `mlflow.db`: what makes it takes seconds, so the tests share it."""
    return tmp_path_factory.mktemp("runs")


def test_a_sweep_is_flat_runs_and_one_of_its_own(folder: Path) -> None:
    from mlflow import MlflowClient

    told: list[str] = []
    with _store(folder / "headline") as store:
        (store.path / "report.html").write_text("<html></html>")
        link = MlflowTracker("flat", colors=COLORS).log(store, told.append)
        assert told == []
        assert store.info.tracking["done"] is True
    assert link is not None
    assert "compareRunsMode=CHART&workflowType=machine_learning" in link
    uri = f"sqlite:///{folder}/mlflow.db"
    runs = {run.info.run_name: run for run in _runs(uri, "flat")}
    assert len(runs) == 10
    assert all(run.info.status == "FINISHED" for run in runs.values())
    assert all("mlflow.parentRunId" not in run.data.tags for run in runs.values())
    shmem = runs["shmem real"]
    assert shmem.data.tags | {
        "kind": "series", "mechanism": "shmem", "engine": "real", "workload": "region", "sweep": "headline", "step": "processes",
        "mlflow.runColor": "#000000",
    } == shmem.data.tags  # fmt: skip
    colors = [run.data.tags.get("mlflow.runColor") for run in runs.values() if run.data.tags["kind"] == "series"]
    assert len(set(colors)) == len(colors) == 9
    client = MlflowClient(tracking_uri=uri)
    history = client.get_metric_history(runs["shmem sim"].info.run_id, "page_table_bytes")
    assert [(one.step, one.value) for one in history] == [(1_000, 2_105_344_000), (10_000, 21_053_440_000)]
    whole = runs["sweep headline"]
    assert whole.data.tags["cells_ok"] == "14"
    assert whole.data.tags["cells_skipped"] == "1"
    assert whole.data.metrics == {}
    assert whole.inputs.dataset_inputs[0].dataset.name == "cells"
    names = {one.path for one in client.list_artifacts(whole.info.run_id)}
    assert {"results.json", "environment.json", "config.json", "report.html", "store"} <= names
    arrow = {one.path for one in client.list_artifacts(whole.info.run_id, "store")}
    assert {"store/cells.arrow", "store/phases.arrow"} <= arrow


def test_logging_again_sends_nothing_twice_and_only_what_changed(folder: Path) -> None:
    tracker, uri = MlflowTracker("again", colors=COLORS), f"sqlite:///{folder}/mlflow.db"
    with _store(folder / "again", rows_of(list(sweep()))) as store:
        tracker.log(store, print)
        first = {run.info.run_name: run.info.run_id for run in _runs(uri, "again")}
        tracker.log(store, print)
        assert {run.info.run_name: run.info.run_id for run in _runs(uri, "again")} == first
        store.append(rows_of([cell_of("shmem", 77)]).tables())
        store.compact()
        tracker.log(store, print)
    runs = _runs(uri, "again")
    assert len(runs) == len(first) == 10
    changed = {run.info.run_name for run in runs if first[run.info.run_name] != run.info.run_id}
    assert changed == {"shmem sim region=1GiB", "sweep again"}


def test_a_run_that_broke_off_is_finished_and_no_value_is_doubled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri, calls = f"sqlite:///{folder}/mlflow.db", 0
    whole = MlflowClient.set_terminated

    def dies(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("the network went away")
        whole(self, *args, **kwargs)

    told: list[str] = []
    with _store(folder / "broken") as store:
        monkeypatch.setattr(MlflowClient, "set_terminated", dies)
        assert MlflowTracker("broken").log(store, told.append) is None
        assert "the network went away" in told[0]
        assert "mshare-bench sync" in told[0]
        assert len(_runs(uri, "broken")) == 3
        monkeypatch.undo()
        assert MlflowTracker("broken").log(store, told.append)
    runs = _runs(uri, "broken")
    assert len(runs) == 10
    assert {run.info.status for run in runs} == {"FINISHED"}
    client = MlflowClient(tracking_uri=uri)
    for run in runs:
        for name in run.data.metrics:
            steps = [one.step for one in client.get_metric_history(run.info.run_id, name)]
            assert len(steps) == len(set(steps))


def test_a_run_that_a_repeated_request_made_twice_is_one_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    made = MlflowClient.create_run

    def twice(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        made(self, *args, **kwargs)
        return made(self, *args, **kwargs)

    uri = f"sqlite:///{folder}/mlflow.db"
    with _store(folder / "twice") as store:
        monkeypatch.setattr(MlflowClient, "create_run", twice)
        MlflowTracker("twice").log(store, print)
        monkeypatch.undo()
        assert len(_runs(uri, "twice")) == 20
        MlflowTracker("twice").log(store, print)
    runs = _runs(uri, "twice")
    assert len(runs) == len({run.data.tags["key"] for run in runs}) == 10
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_server_that_is_away_costs_a_note_only(tmp_path: Path) -> None:
    told: list[str] = []
    with _store(tmp_path / "away") as store:
        assert MlflowTracker(uri="http://127.0.0.1:9").log(store, told.append) is None
        assert store.info.tracking["done"] is False
    assert told == [
        f"tracking.uri=http://127.0.0.1:9: does not answer; the results are on disk, `mshare-bench sync {tmp_path}/away` "
        "sends them later"
    ]
    with _store(tmp_path / "bad") as store, pytest.raises(ConfigError, match="tracking.uri=nonsense"):
        MlflowTracker(uri="nonsense").log(store, told.append)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent, _store(tmp_path / "silent") as store:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert MlflowTracker(uri=uri, patience=0.5).log(store, told.append) is None
    assert "does not answer" in told[0]


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_a_server_killed_in_between_gets_every_run_once_when_it_is_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    port, database = _free(), f"sqlite:///{folder}/mlflow.db"
    uri, calls, told = f"http://127.0.0.1:{port}", 0, list[str]()
    logged = MlflowClient.log_batch
    first = serve(database, port)

    def kills(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            os.killpg(first.process.pid, signal.SIGKILL)
            first.process.wait()
        return logged(self, *args, **kwargs)

    with _store(folder / "killed") as store:
        try:
            monkeypatch.setattr(MlflowClient, "log_batch", kills)
            assert MlflowTracker("killed", uri, COLORS, patience=2).log(store, told.append) is None
        finally:
            first.close()
            monkeypatch.undo()
        assert len(told) == 1
        assert 0 < len(_runs(database, "killed")) < 10
        with serve(database, port):
            assert MlflowTracker("killed", uri, COLORS).log(store, told.append)
            assert MlflowTracker("killed", uri, COLORS).log(store, told.append)
    runs = _runs(database, "killed")
    assert len(runs) == len({run.info.run_name for run in runs}) == 10
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(told) == 1


def test_a_slow_server_is_left_alone_and_served_by_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Place, "remote", property(lambda self: True))
    with _store(folder / "slow") as store:
        assert MlflowTracker("slow", limit=-1.0).log(store, told.append) is None
        assert "takes longer than" in told[0]
        assert MlflowTracker("slow", limit=None).log(store, told.append)
    assert len(_runs(f"sqlite:///{folder}/mlflow.db", "slow")) == 10


def test_two_that_start_on_no_database_at_once_both_get_through(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.tracking.test_mlflow import _store;"
        "from mshare_bench.tracking.mlflow import MlflowTracker;"
        "sys.exit(MlflowTracker().log(_store(Path(sys.argv[1])), print) is None)"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / name)]) for name in ("a", "b")]
    assert [one.wait() for one in started] == [0, 0]
    assert len(_runs(f"sqlite:///{tmp_path}/mlflow.db")) == 20
