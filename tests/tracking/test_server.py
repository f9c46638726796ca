import json
import socket
import urllib.request
from pathlib import Path

import pytest

from mshare_bench.errors import ConfigError, StoreError
from mshare_bench.results.store import Store
from mshare_bench.tracking.mlflow import MlflowTracker
from mshare_bench.tracking.server import serve, serve_ui
from tests.results.sample import COLORS, headline


def test_it_answers_on_loopback_only_and_goes_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.create(tmp_path / "out", "out") as store:
        store.append(headline().tables())
        store.compact()
        MlflowTracker(colors=COLORS).log(store, print)
    with serve(str(tmp_path / "out")) as server:
        assert server.address.startswith("http://127.0.0.1:")
        port = int(server.address.rsplit(":", 1)[1])
        other = socket.gethostbyname(socket.gethostname())
        if not other.startswith("127."):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, port), 2).close()
        body = json.dumps({"max_results": 10}).encode()
        request = urllib.request.Request(
            f"{server.address}/api/2.0/mlflow/experiments/search", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            assert "mshare-bench" in {one["name"] for one in json.load(answer)["experiments"]}
        assert serve_ui(server.address) == 0
        assert "compareRunsMode=CHART" in capsys.readouterr().out
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.address)
    assert server.process.poll() is not None


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"no mlflow\.db here"):
        serve()
    with pytest.raises(StoreError, match="no such file"):
        serve(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(StoreError, match=r"no mlflow\.db there"):
        serve(str(tmp_path))
    with pytest.raises(ConfigError, match="nonsense"):
        serve("nonsense")
    with pytest.raises(StoreError, match="does not answer"):
        serve_ui("http://127.0.0.1:9")
