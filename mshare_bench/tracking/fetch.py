"""Results back from MLflow: a run's id as a store, for `mshare-bench compare`.

`find_store(text, uri=None)` takes whatever `results.baseline.resolve` takes, and the id of a run (`runs:/ID`, or its 32
hexadecimal digits): a sweep's own run, or any of its series. Downloads are kept in `$XDG_CACHE_HOME/mshare-bench/runs`.
"""

import os
import re
from pathlib import Path

from mshare_bench.errors import StoreError
from mshare_bench.results.baseline import resolve
from mshare_bench.results.store import Store
from mshare_bench.tracking.place import local_database, place_of

__all__ = ["fetch_store", "find_store"]

_RUN = re.compile(r"(?:runs:/)?([0-9a-f]{32})")


def find_store(text: str, uri: str | None = None) -> Store:
    """Find the store that a name means: a path, a baseline, a sweep's id, or a run of MLflow.

    Parameters
    ----------
    text
        The name.
    uri
        Where MLflow is; None for the file that runs in this folder have written.

    Raises
    ------
    StoreError
        When it means nothing.
    """
    found = _RUN.fullmatch(text)
    if found is None or Path(text).exists():
        return resolve(text)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mshare-bench" / "runs" / found[1]
    return fetch_store(found[1], cache, uri)


def fetch_store(run: str, folder: Path, uri: str | None = None) -> Store:
    """Download the Arrow files of a run's sweep into a folder, and open them.

    Raises
    ------
    StoreError
        When MLflow is not there, has no such run, or the run has no store.
    """
    database = local_database(Path.cwd()) if uri is None else None
    if uri is None and database is None:
        raise StoreError(
            f"{run}: no results there, and no mlflow.db here nor in mshare-runs to look for a run of that id"
        )
    place = place_of(uri or str(database))
    with place.initialising():
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        client = MlflowClient(tracking_uri=place.uri)
    try:
        wanted = client.get_run(run)
        tags = wanted.data.tags
        if tags.get("kind") == "series":
            condition = f"tags.store = '{tags['store']}' and tags.kind = 'sweep'"
            wanted = client.search_runs([wanted.info.experiment_id], condition)[0]
        folder.mkdir(parents=True, exist_ok=True)
        path = client.download_artifacts(wanted.info.run_id, "store", str(folder))
    except (MlflowException, OSError, IndexError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "its sweep has no run"
        raise StoreError(f"{run}: not a run with results in {place.uri} ({reason})") from error
    return Store.open(path)
