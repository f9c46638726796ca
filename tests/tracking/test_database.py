import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mshare_bench.results.store import Store
from mshare_bench.tracking.database import ready_made
from mshare_bench.tracking.mlflow import MlflowTracker
from mshare_bench.tracking.place import Place, place_of
from tests.results.sample import headline


def _read(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def _log(experiment: str, folder: Path) -> str | None:
    """Log a small sweep to the file of a folder."""
    with Store.create(folder / "store", "store") as store:
        store.append(headline().tables())
        store.compact()
        return MlflowTracker(experiment).log(store, print)


def _schema(path: Path) -> set[tuple[object, ...]]:
    return {*_read(path, "SELECT type, name, sql FROM sqlite_master"), *_read(path, "SELECT * FROM alembic_version")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mshare-bench" / "mlflow"


def test_the_second_file_is_a_copy_that_holds_nothing_of_the_first(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name / "mlflow.db" for name in ("first", "second")]
    assert _log("one", tmp_path / "first")
    (kept,) = cache.iterdir()
    assert _read(kept, "SELECT * FROM experiments") == _read(kept, "SELECT * FROM runs") == []

    import mlflow.store.db.utils

    def migrate(engine: object) -> None:
        raise AssertionError(f"{engine} is brought up to date")

    monkeypatch.setattr(mlflow.store.db.utils, "_initialize_tables", migrate)
    assert _log("two", tmp_path / "second")
    assert _schema(files[0]) == _schema(files[1])
    query = "SELECT name, artifact_location FROM experiments ORDER BY experiment_id"
    first, second = (dict(_read(path, query)) for path in files)
    assert list(first) == ["Default", "one"]
    assert list(second) == ["Default", "two"]
    assert second["two"] == str(tmp_path / "second" / "mlartifacts")
    assert [*cache.iterdir()] == [kept]


def test_what_is_there_and_servers_are_left_alone(tmp_path: Path, cache: Path) -> None:
    own = tmp_path / "own.db"
    with closing(sqlite3.connect(own)) as database:
        database.execute("CREATE TABLE experiments (name)")
        database.execute("INSERT INTO experiments VALUES ('mine')")
        database.commit()
    for place in (place_of(str(own)), Place("http://127.0.0.1:1")):
        with ready_made(place):
            pass
    assert _read(own, "SELECT name FROM experiments") == [("mine",)]
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    place = place_of(str(tmp_path / "mlflow.db"))
    assert place.database is not None
    with ready_made(place), closing(sqlite3.connect(place.database)) as database:
        database.execute("CREATE TABLE experiments (name)")
    assert not cache.exists()
    assert _read(place.database, "SELECT name FROM experiments") == []


def test_a_block_that_fails_leaves_nothing_to_copy(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(RuntimeError), ready_made(place_of(str(tmp_path / "mlflow.db"))):
        raise RuntimeError
    assert not cache.exists()
