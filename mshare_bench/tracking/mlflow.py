"""Sends a store to MLflow: a flat run for every series, and one for the sweep with its files.

    MlflowTracker(experiment, uri=None, colors={}).log(store, note) -> link or None

The store must be open for writing. Logging the same store again sends what is missing only: every run carries the tags `store`
and `key`, is looked up by them first, and has the same timestamps each time, so that a value sent twice is kept once.
Without a uri it is `mlflow.db` in the folder that the store lies in.
"""

import json
import mimetypes
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mshare_bench.errors import ConfigError
from mshare_bench.results.store import Store
from mshare_bench.tracking.database import ready_made
from mshare_bench.tracking.place import Place, answers, place_of
from mshare_bench.tracking.series import Curves, Series, curves, shade
from mshare_bench.tracking.summary import summary_table
from mshare_bench.tracking.validation import validation_metrics, validation_rows, validation_table
from mshare_bench.uncollected import uncollected

__all__ = ["MlflowTracker"]

_BATCH = 1000  # metrics that one call of MLflow takes at most


@dataclass(frozen=True, slots=True)
class MlflowTracker:
    """Logs stores to MLflow; meets the port `Tracker`.

    Attributes
    ----------
    experiment
        Name of the experiment; made when it is not there.
    uri
        Of the tracking server, or `sqlite:///FILE`; None for `mlflow.db` beside the store.
    colors
        Colour of each mechanism, `#rrggbb`.
    patience
        Seconds that a server may take to answer one request.
    limit
        Seconds after which a server that is slow is left alone; None for as long as it takes (`sync`).
    """

    experiment: str = "mshare-bench"
    uri: str | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    patience: float = 5.0
    limit: float | None = 60.0

    def log(self, store: Store, progress: Callable[[str], None]) -> str | None:
        """Send what MLflow does not have yet of a store.

        A server that is away costs a note: the rows are on disk, and logging the store again sends them.

        Returns
        -------
        str or None
            The link that opens the charts of this sweep; None where the server is away.

        Raises
        ------
        ConfigError
            When the uri is none that MLflow takes.
        """
        place = place_of(self.uri, store.path)
        if not answers(place, self.patience):
            progress(_later(store, place, "does not answer"))
            store.note_tracking({"uri": place.uri, "experiment": self.experiment, "done": False})
            return None
        with uncollected(), _environment(self.patience), place.initialising(), ready_made(place):
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            try:
                client = MlflowClient(tracking_uri=place.uri)
                experiment = _experiment(client, self.experiment, place)
            except MlflowException as error:
                if place.remote:
                    progress(_later(store, place, _reason(error)))
                    return None
                raise ConfigError(f"tracking.uri={place.uri}: {_reason(error)}") from error
        with uncollected(), _environment(self.patience):
            try:
                _log(client, experiment, store, self.colors, _Clock(self.limit if place.remote else None))
            except (MlflowException, OSError) as error:
                progress(_later(store, place, _reason(error)))
                store.note_tracking({"uri": place.uri, "experiment": self.experiment, "done": False})
                return None
        store.note_tracking({"uri": place.uri, "experiment": self.experiment, "done": True})
        return place.link(experiment, store.info.id)


def _later(store: Store, place: Place, why: str) -> str:
    return (
        f"tracking.uri={place.uri}: {why}; the results are on disk, `mshare-bench sync {store.path}` sends them later"
    )


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


@contextmanager
def _environment(patience: float) -> Iterator[None]:
    """MLflow without telemetry, and without minutes of retries at a server that is away."""
    wanted = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(patience))),
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _experiment(client: Any, name: str, place: Place) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place.artifacts))
        except MlflowException:  # somebody else has made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise MlflowException(f"experiment {name} was deleted; name another with tracking.experiment=")
    return str(found.experiment_id)


class _Clock:
    """Says when a slow server has had its time."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._end = time.monotonic() + (limit or 0)

    def check(self) -> None:
        if self._limit is not None and time.monotonic() > self._end:
            raise TimeoutError(f"takes longer than {self._limit:g} s")


def _log(client: Any, experiment: str, store: Store, colors: Mapping[str, str], clock: _Clock) -> None:
    cells = store.table("cells")
    cut = curves(cells)
    known = _known(client, experiment, store)
    tags = {"sweep": store.info.sweep, "store": store.info.id, "mlflow.user": "mshare-bench"}
    tags |= _commit(store)
    start = _created(store) + len(cut.series)  # the UI shows what started last first
    for rank, (one, color) in enumerate(zip(cut.series, _colors(cut.series, colors), strict=True), 1):
        clock.check()
        more = {"kind": "series", "key": one.key, "content": one.content, "mlflow.runColor": color}
        more |= {"mechanism": one.mechanism, "variant": one.variant, "engine": one.engine, "step": _step(cut)}
        more |= {name: value for name, value in (("workload", one.workload), ("machine", one.machine)) if value}
        run = _run(client, experiment, known.get(one.key), one.name, tags | more, start - rank)
        if run is not None:
            _log_series(client, run, one, start - rank, _created(store))
    clock.check()
    content = _content(store)
    more = {"kind": "sweep", "key": "sweep", "content": content, "series_left_out": str(cut.left_out)}
    more |= {f"cells_{status}": str(number) for status, number in _statuses(cells).items()}
    more |= {name: _joined(cells, name) for name in ("workload", "mechanism", "engine", "machine")}
    run = _run(client, experiment, known.get("sweep"), f"sweep {store.info.name}", tags | more, start)
    if run is not None:
        _log_sweep(client, run, store, cells, content)


def _known(client: Any, experiment: str, store: Store) -> dict[str, Any]:
    """What is there of a store, by key; a run that a repeated request has made twice is deleted."""
    found: dict[str, Any] = {}
    for run in _search(client, experiment, f"tags.store = '{store.info.id}'"):
        key = run.data.tags.get("key", "")
        other = found.setdefault(key, run)
        if other is not run:
            keep, drop = (run, other) if run.info.status == "FINISHED" else (other, run)
            client.delete_run(drop.info.run_id)
            found[key] = keep
    return found


def _search(client: Any, experiment: str, condition: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], filter_string=condition, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: Any, experiment: str, found: Any, name: str, tags: Mapping[str, str], created: int) -> str | None:
    """Id of the run to write to, None when it is there and whole; one with other content is replaced."""
    if found is not None:
        if found.data.tags.get("content") == tags["content"]:
            return None if found.info.status == "FINISHED" else str(found.info.run_id)
        client.delete_run(found.info.run_id)
    short = {key: value[:5000] for key, value in tags.items() if value}
    return str(client.create_run(experiment, start_time=created, tags=short, run_name=name).info.run_id)


def _log_series(client: Any, run: str, one: Series, started: int, created: int) -> None:
    from mlflow.entities import Metric, Param

    metrics = [
        Metric(name, value, created, step) for step, point in one.points.items() for name, value in point.items()
    ]
    params = [Param(name, str(value)[:500]) for name, value in one.params.items()][:100]
    for start in range(0, max(1, len(metrics)), _BATCH):
        client.log_batch(run, metrics=metrics[start : start + _BATCH], params=params if not start else [])
    client.set_terminated(run, "FINISHED", end_time=started)


def _log_sweep(client: Any, run: str, store: Store, cells: pa.Table, content: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    fields = [{"name": one.name, "type": str(one.type), "required": False} for one in cells.schema]
    dataset = Dataset(
        name="cells",
        digest=content[:16],
        source_type="local",
        source=json.dumps({"uri": str((store.path / "cells.arrow").resolve())}),
        schema=json.dumps({"mlflow_colspec": fields})[:60_000],
        profile=json.dumps({"num_rows": cells.num_rows, "num_columns": cells.num_columns}),
    )
    client.log_inputs(run, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "results")])])
    client.log_dict(run, summary_table(cells), "results.json")
    # What `log_table` sets too: without it the UI shows the file as text, not as a table.
    tables = [{"path": "results.json", "type": "table"}]
    if rows := validation_rows(store.path):
        _log_validation(client, run, rows, _created(store))
        tables.append({"path": "validation.json", "type": "table"})
    client.set_tag(run, "mlflow.loggedArtifacts", json.dumps(tables))
    client.log_dict(run, _environments(store), "environment.json")
    client.log_dict(run, {"name": store.info.name, "sweep": store.info.sweep, **store.info.config}, "config.json")
    for path in _files(store):
        mimetypes.add_type("application/vnd.apache.arrow.file", ".arrow")
        stored = path.suffix == ".arrow" or path.name == "store.json"
        folder = "figures" if path.parent.name == "figures" else "store" if stored else None
        client.log_artifact(run, str(path), folder)
    client.set_terminated(run, "FINISHED")


def _log_validation(client: Any, run: str, rows: list[dict[str, Any]], created: int) -> None:
    from mlflow.entities import Metric

    client.log_batch(run, metrics=[Metric(name, value, created, 0) for name, value in validation_metrics(rows).items()])
    client.log_dict(run, validation_table(rows), "validation.json")


def _files(store: Store) -> list[Path]:
    found = [
        store.path / "store.json",
        *store.path.glob("*.arrow"),
        *store.path.glob("report.html"),
        *store.path.glob("figures/*"),
    ]
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _environments(store: Store) -> dict[str, dict[str, str | None]]:
    rows = store.table("environments").to_pylist()
    found: dict[str, dict[str, str | None]] = {}
    for row in rows:
        found.setdefault(row["env"], {"machine": row["machine"]})[row["key"]] = row["value"]
    return found


def _content(store: Store) -> str:
    """Digest of the files that hold the results (the report is made of them)."""
    import hashlib

    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(store.path.glob("*.arrow")):
        whole.update(path.name.encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def _created(store: Store) -> int:
    import datetime

    if not store.info.created:
        return 0
    return int(datetime.datetime.fromisoformat(store.info.created).timestamp() * 1000)


def _statuses(cells: pa.Table) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in cells["status"].to_pylist():
        counts[status] = counts.get(status, 0) + 1
    return counts


def _joined(cells: pa.Table, name: str) -> str:
    return ",".join(sorted(value for value in cells[name].unique().to_pylist() if value))


def _step(cut: Curves) -> str:
    return cut.axis if cut.scale == 1 else f"{cut.axis} x {cut.scale}"


def _commit(store: Store) -> dict[str, str]:
    """Commit of the program, where the environment knows it."""
    for row in store.table("environments").to_pylist():
        if row["key"] in ("git_commit", "commit") and row["value"]:
            return {"mlflow.source.git.commit": row["value"]}
    return {}


def _colors(series: Sequence[Series], colors: Mapping[str, str]) -> Iterator[str]:
    """A colour of its own for every series: its mechanism's, and lighter ones for its further series."""
    used: dict[str, int] = {}
    ordered = sorted(series, key=lambda one: (one.mechanism, one.engine != "real", one.name))
    chosen = {}
    for one in ordered:
        step = used.get(one.mechanism, 0)
        used[one.mechanism] = step + 1
        chosen[one.key] = shade(colors.get(one.mechanism, "#808080"), step)
    for one in series:
        yield chosen[one.key]
