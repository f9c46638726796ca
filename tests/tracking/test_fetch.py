from pathlib import Path

import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.store import Store
from mshare_bench.tracking.fetch import find_store
from mshare_bench.tracking.mlflow import MlflowTracker
from tests.results.sample import headline


def test_a_run_is_a_store_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(StoreError, match=r"no mlflow\.db here"):
        find_store("0" * 32)
    with Store.create(tmp_path / "out", "out") as store:
        store.append(headline().tables())
        store.compact()
        MlflowTracker().log(store, print)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("mshare-bench").experiment_id])
    for run in (runs[0], runs[-1]):
        found = find_store(f"runs:/{run.info.run_id}")
        assert found.table("cells").equals(store.table("cells"))
        assert found.info.id == store.info.id
    with pytest.raises(StoreError, match="not a run with results"):
        find_store("0" * 32)
    assert find_store(str(tmp_path / "out")).path == tmp_path / "out"
    with pytest.raises(StoreError, match="no such baseline"):
        find_store("nothing")
