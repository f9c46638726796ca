import json
from pathlib import Path

import pytest

from mshare_bench.results.files import write_arrow
from mshare_bench.results.store import Store
from mshare_bench.tracking.mlflow import MlflowTracker
from mshare_bench.tracking.validation import FILE, validation_metrics, validation_rows, validation_table
from mshare_bench.validation.comparison import Comparison, table
from tests.results.sample import headline

ROWS = [
    Comparison("fork_series", "fork", "2 GiB", 28.0, 30.0, 0.2, "a blog"),
    Comparison("fork_series", "fork", "20 GiB", 300.0, 200.0, 0.2, "a blog"),
    Comparison("shmem", "touch_ns", "here", None, 1000.0, None, "this kernel", block="kernel", note="no profile"),
]


def test_metrics_count_every_block_and_leave_out_what_is_not_known() -> None:
    metrics = validation_metrics(table(ROWS).to_pylist())
    assert metrics["published_passed"] == 1 and metrics["published_failed"] == 1
    assert metrics["published_median_error"] == pytest.approx((2 / 30 + 0.5) / 2)
    assert metrics["kernel_reported"] == 1
    assert "kernel_median_error" not in metrics


def test_the_table_has_every_row() -> None:
    rows = table(ROWS).to_pylist()
    found = validation_table(rows)
    assert [dict(zip(found["columns"], row, strict=True)) for row in found["data"]] == rows
    assert json.loads(json.dumps(found)) == found


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert validation_rows(tmp_path) == []


def test_mlflow_has_metrics_table_and_figure_of_a_validation(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    with Store.create(tmp_path / "v", "validate") as store:
        store.append(headline().tables())
        store.compact()
        write_arrow(store.path / FILE, table(ROWS))
        (store.path / "figures").mkdir()
        (store.path / "figures" / "validation.png").write_bytes(b"\x89PNG")
        assert MlflowTracker("validation").log(store, lambda _: None) is not None
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("validation")
    (run,) = client.search_runs([experiment.experiment_id], filter_string="tags.kind = 'sweep'")
    assert run.data.metrics["published_failed"] == 1
    assert {one.path for one in client.list_artifacts(run.info.run_id)} >= {"validation.json", "figures", "store"}
    assert "store/validation.arrow" in {one.path for one in client.list_artifacts(run.info.run_id, "store")}
    assert {one["path"] for one in json.loads(run.data.tags["mlflow.loggedArtifacts"])} == {
        "results.json",
        "validation.json",
    }
