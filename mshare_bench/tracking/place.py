"""Where MLflow is: a server, or a SQLite file beside the results."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from mshare_bench.errors import ConfigError, StoreError

__all__ = ["UI_PORT", "Place", "answers", "local_database", "place_of"]

UI_PORT = 5000
"""Port that `mshare-bench ui` tries first."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tracking server or file.

    Attributes
    ----------
    uri
        As MLflow takes it.
    database
        The SQLite file; None for a server.
    """

    uri: str
    database: Path | None = None

    @property
    def remote(self) -> bool:
        """Whether it is a server."""
        return self.database is None

    @property
    def artifacts(self) -> str | None:
        """Where artifacts go: a folder beside the SQLite file; None leaves it to the server."""
        return None if self.database is None else str(self.database.parent / "mlartifacts")

    @contextmanager
    def initialising(self) -> Iterator[None]:
        """Let one process at a time make the SQLite file and bring its tables up to date: MLflow's migrations collide."""
        if self.database is None:
            yield
            return
        try:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(
                self.database.with_name(f".{self.database.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise StoreError(f"tracking.uri={self.uri}: can't be written ({error.strerror or error})") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def link(self, experiment: str, store: str = "", base: str | None = None) -> str:
        """Address of the page that draws the charts of one store's series, or of the whole experiment.

        Without `workflowType` MLflow opens another page, and no tag changes that.
        """
        base = base or (self.uri if self.remote else f"http://127.0.0.1:{UI_PORT}")
        condition = f"tags.store = '{store}' and tags.kind = 'series'"
        chosen = f"&searchFilter={quote(condition)}" if store else ""
        page = f"#/experiments/{experiment}/runs?compareRunsMode=CHART&workflowType=machine_learning"
        return f"{base.rstrip('/')}/{page}{chosen}"


def place_of(uri: str | None, store: Path | None = None) -> Place:
    """Read `tracking.uri`.

    Parameters
    ----------
    uri
        `http://...`, `https://...`, `sqlite:///FILE`, a path to a `.db` file, or None for `mlflow.db` beside the store.
    store
        Folder of the store.

    Raises
    ------
    ConfigError
        For anything else.
    """
    if uri is None:
        folder = store.resolve().parent if store is not None else Path.cwd()
        return _file(folder / "mlflow.db")
    if uri.startswith("sqlite:///"):
        return _file(Path(uri.removeprefix("sqlite:///")))
    parts = urlsplit(uri)
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if known:
        return Place(uri.rstrip("/"))
    if "://" not in uri and uri.endswith(".db"):
        return _file(Path(uri))
    raise ConfigError(f"tracking.uri={uri}: not http://HOST:PORT, https://... or sqlite:///FILE")


def _file(path: Path) -> Place:
    path = path.expanduser().resolve()
    return Place(f"sqlite:///{path}", path)


def local_database(folder: Path) -> Path | None:
    """The MLflow file that runs started in a folder have written: there, or in `mshare-runs` below; the newer of both."""
    found = [path for path in (folder / "mlflow.db", folder / "mshare-runs" / "mlflow.db") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def answers(place: Place, patience: float) -> bool:
    """Whether a server takes connections and answers in time; a file always does."""
    if place.database is not None:
        return True
    import http.client

    parts = urlsplit(place.uri)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.request("GET", f"{parts.path}/health")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException, socket.gaierror):
        return False
    finally:
        connection.close()
