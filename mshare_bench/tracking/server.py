"""The MLflow UI on this machine: one server on loopback, without telemetry and without job runners.

serve(uri=None, port=None) -> Server          started, answering
serve_ui(uri=None, port=None) -> int          `mshare-bench ui`: start it, print the link, wait until it is interrupted
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mshare_bench.errors import ConfigError, StoreError
from mshare_bench.tracking.place import UI_PORT, Place, answers, local_database, place_of

__all__ = ["Server", "serve", "serve_ui"]

_HOST = "127.0.0.1"
_START = 120.0


@dataclass(slots=True)
class Server:
    """A running server; `close` ends it, as does leaving its `with` block."""

    place: Place
    address: str
    process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server and its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def serve(uri: str | None = None, port: int | None = None) -> Server:
    """Start a server on 127.0.0.1 and wait until it answers.

    Parameters
    ----------
    uri
        `sqlite:///FILE` or a path to it; None for the file that runs in this folder have written.
    port
        None for 5000, or a free one where that is taken.

    Raises
    ------
    StoreError
        When there is no such file, or the server ends or does not answer within two minutes.
    """
    place = _local(uri)
    port = port or _free_port()
    assert place.database is not None
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.uri,
        "--default-artifact-root", str(place.artifacts), "--host", _HOST, "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    log = place.database.with_name(".mlflow-ui.log")
    with place.initialising(), open(log, "wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        server = Server(place, f"http://{_HOST}:{port}", process)
        try:
            _wait(server, log)
        except BaseException:
            server.close()
            raise
    return server


def serve_ui(uri: str | None = None, port: int | None = None) -> int:
    """Start the UI, print the link that opens the charts, and wait until it is interrupted; a server's link is printed only.

    Raises
    ------
    ConfigError, StoreError
        As `serve` and `place_of` do.
    """
    if uri is not None and uri.startswith(("http://", "https://")):
        place = place_of(uri)
        if not answers(place, 5.0):
            raise StoreError(f"{uri}: does not answer")
        print(_chart_link(place, place.uri))
        return 0
    with serve(uri, port) as server:
        print(_chart_link(server.place, server.address), flush=True)
        try:
            return server.process.wait()
        except KeyboardInterrupt:
            return 0


def _chart_link(place: Place, address: str) -> str:
    """The charts of the sweep that was logged last."""
    found = _ask(address, "experiments/search", {"max_results": 1000}).get("experiments", [])
    ids = [one["experiment_id"] for one in found]
    query = {"experiment_ids": ids, "filter": "tags.kind = 'sweep'", "order_by": ["start_time DESC"], "max_results": 1}
    runs = _ask(address, "runs/search", query).get("runs", []) if ids else []
    if not runs:
        return address
    tags = {tag["key"]: tag["value"] for tag in runs[0]["data"].get("tags", [])}
    return place.link(runs[0]["info"]["experiment_id"], tags.get("store", ""), base=address)


def _ask(address: str, what: str, query: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{what}", json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _local(uri: str | None) -> Place:
    if uri is None:
        found = local_database(Path.cwd())
        if found is None:
            raise StoreError("no mlflow.db here nor in mshare-runs; name one: mshare-bench ui sqlite:///FILE")
        return place_of(str(found))
    folder = Path(uri)
    if folder.is_dir():
        beside = [path for path in (folder / "mlflow.db", folder.resolve().parent / "mlflow.db") if path.is_file()]
        if not beside:
            raise StoreError(f"{uri}: no mlflow.db there")
        return place_of(str(beside[0]))
    place = place_of(uri)
    if place.database is None:
        raise ConfigError(f"{uri}: a server already")
    if not place.database.is_file():
        raise StoreError(f"{place.database}: no such file")
    return place


def _free_port() -> int:
    for port in (UI_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StoreError("no free port on 127.0.0.1")


def _wait(server: Server, log: Path) -> None:
    place = Place(server.address)
    end = time.monotonic() + _START
    while time.monotonic() < end:
        if server.process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise StoreError(f"the MLflow server ended with code {server.process.returncode}: {last[0]} ({log})")
        if answers(place, 1.0):
            return
        time.sleep(0.1)
    raise StoreError(f"the MLflow server does not answer ({log})")
