"""A new SQLite file for MLflow as a copy of the first one: MLflow takes a second of CPU to bring an empty one up to date.

    with place.initialising(), ready_made(place):
        ...                                       MLflow opens the file

The copy that is kept is what MLflow itself has made of nothing, with no experiment in it, one for each version of MLflow, in
`$XDG_CACHE_HOME/mshare-bench/mlflow`.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from mshare_bench.tracking.place import Place

__all__ = ["ready_made"]


@contextmanager
def ready_made(place: Place) -> Iterator[None]:
    """Put a copy where there is no file yet; without one to copy, keep one of what the block has made there.

    Belongs inside `place.initialising()`. In the block MLflow opens the file and nothing else is done to it. A cache that can't
    be written costs the time that it would save.

    Parameters
    ----------
    place
        A server, or a file that is there, is left alone.
    """
    if place.database is None or place.database.exists():
        yield
        return
    database, kept = place.database, _kept()
    if kept.is_file():
        _appear(database, lambda path: shutil.copyfile(kept, path))
        yield
        return
    yield
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        _appear(kept, lambda path: _empty_copy(database, path))


def _kept() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "mshare-bench" / "mlflow" / f"{version('mlflow')}.db"


def _appear(path: Path, write: Callable[[Path], object]) -> None:
    """Have a file written beside its place, so that nobody sees a part of it."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        write(whole)
        whole.replace(path)


def _empty_copy(database: Path, path: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        # MLflow makes its default experiment where there is none: its artifacts belong to the folder of each file.
        copy.execute("DELETE FROM experiments")
        copy.commit()
