"""The store: a folder with one Arrow file per table of the contract, filled while a sweep runs.

    Store.create(path, name, *, sweep="", config=None) -> Store      new, or the one that is there, locked for writing
    Store.open(path, *, write=False) -> Store                        one that is there
    store.append(tables) -> None                                     one batch, on disk when the call returns
    store.finished() -> set[(cell, repeat)]                          what is done
    store.statuses() -> dict[(cell, repeat), status]                 how every cell ended
    store.compact() -> None                                          the table files from the parts
    store.table(name) -> pa.Table                                    the rows of a table, savings filled
    store.info, store.torn, store.note_tracking(state), store.close(); a store is its own context manager

Layout: `store.json` (name, sweep, id, configuration, tracking), `parts/*.arrow` (one per batch, see `results.files`),
`cells.arrow` and the long tables after compaction, `.lock`. Rows of parts replace the rows that an earlier part or the table
files have for the same cell and repeat. Compaction writes the table files, renames them, and removes the parts in the order
they were written in: after a crash at any step the same rows come out, none twice.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.ipc

from mshare_bench.errors import StoreError
from mshare_bench.results import files
from mshare_bench.results.columns import empty, texts
from mshare_bench.results.folder import Lock, claim, read_info
from mshare_bench.results.merge import Merge, Source
from mshare_bench.results.schema import SCHEMA_VERSION, TABLES, schema

__all__ = ["Store", "StoreInfo"]

_BATCH = 1 << 16


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What `store.json` says.

    Attributes
    ----------
    name, sweep
        Name of the run, and the id of its sweep: what the column `sweep` holds.
    id
        Of this store alone; what was sent to a tracking server is recognised by it.
    created
        ISO 8601, UTC.
    config
        The composed configuration.
    tracking
        What was logged where; see `mshare_bench.tracking`.
    """

    name: str
    sweep: str
    id: str
    created: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tracking: Mapping[str, Any] = field(default_factory=dict)
    schema_version: str = SCHEMA_VERSION


class Store:
    """Results in a folder; made by `create` or `open`.

    Attributes
    ----------
    path
        The folder.
    info
        What `store.json` says.
    """

    def __init__(self, path: Path, info: StoreInfo, lock: Lock | None) -> None:
        self.path = path
        self.info = info
        self._lock = lock
        self._torn: dict[str, None] = {}

    @classmethod
    def create(
        cls, path: str | Path, name: str, *, sweep: str = "", config: Mapping[str, Any] | None = None
    ) -> "Store":
        """Make a store, or go on with the one that is there, and lock it.

        Parameters
        ----------
        path
            A folder; made when it is not there.
        name
            Name of the run; a store that is there keeps its own.
        sweep
            Id of the sweep, the name where it is left out. Two stores are equal byte for byte only where it is the same.
        config
            The composed configuration, kept in `store.json`.

        Raises
        ------
        StoreError
            When the folder holds something else, can't be written, or is locked by a process that lives.
        """
        folder = Path(path)
        lock = claim(folder)
        try:
            found = read_info(folder)
            if found is None:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                info = StoreInfo(name, sweep or name, uuid.uuid4().hex, now, dict(config or {}))
                (folder / "parts").mkdir(exist_ok=True)
                files.write_json(folder / "store.json", dataclasses.asdict(info))
            else:
                info = StoreInfo(**found)
            return cls(folder, info, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> "Store":
        """Open a store that is there; a path to its `cells.arrow` or `store.json` will do.

        Raises
        ------
        StoreError
            When there is none, or (`write`) as `create` does.
        """
        folder = Path(path)
        if folder.suffix in (".arrow", ".json") and folder.is_file():
            folder = folder.parent
        found = read_info(folder)
        if found is None:
            if not (folder / "cells.arrow").is_file():
                what = "no such folder" if not folder.exists() else "no results of mshare-bench there"
                raise StoreError(f"{path}: {what}")
            found = {"name": folder.resolve().name, "sweep": "", "id": "", "created": ""}
        return cls(folder, StoreInfo(**found), claim(folder) if write else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def torn(self) -> tuple[str, ...]:
        """Names of the parts that were found torn and left out since this store was opened."""
        return tuple(self._torn)

    def append(self, tables: Mapping[str, pa.Table]) -> None:
        """Write one batch as a part; it is on disk when this returns. A null `sweep` is filled.

        Raises
        ------
        StoreError
            When the store is not open for writing, or the disk does not take it.
        KeyError
            For a table or column that is not in the contract.
        """
        self._writable()
        if "cells" in tables:
            tables = {**tables, "cells": _with_sweep(tables["cells"], self.info.sweep)}
        names = self._part_paths()
        number = int(names[-1].stem) + 1 if names else 1
        try:
            files.write_part(self.path / "parts" / f"{number:08d}.arrow", tables)
        except OSError as error:
            raise StoreError(f"out={self.path}: can't write results ({error.strerror or error})") from error

    def finished(self) -> set[tuple[str, int]]:
        """Cells and repeats that ended well: what a resumed sweep does not run again."""
        return {key for key, status in self.statuses().items() if status == "ok"}

    def statuses(self) -> dict[tuple[str, int], str]:
        """How every cell and repeat ended, the latest where there are several; reads three columns only."""
        found: dict[tuple[str, int], str] = {}
        wanted = ("cell", "repeat", "status")
        for source in self._sources():
            table = source.table("cells", wanted)
            if table is not None:
                cell, repeat, status = (table[name].to_pylist() for name in wanted)
                found.update(zip(zip(cell, repeat, strict=True), status, strict=True))
        return found

    def table(self, name: str) -> pa.Table:
        """Rows of a table, of table files and parts together; empty where there are none.

        Raises
        ------
        KeyError
            When the contract has no such table.
        StoreError
            When a file can't be read or has another major version of the schema.
        """
        none = empty(schema(name))
        base, *parts = self._sources()
        if not parts:
            return base.table(name) or none
        return Merge([base, *parts]).table(name)

    def tables(self) -> dict[str, pa.Table]:
        """Every table that has rows, by name."""
        base, *parts = self._sources()
        if parts:
            merge = Merge([base, *parts])
            return {name: table for name in TABLES if (table := merge.table(name)).num_rows}
        return {name: table for name in TABLES if (table := base.table(name)) is not None}

    def compact(self) -> None:
        """Make the table files from the parts and remove those; the same rows give the same bytes.

        Raises
        ------
        StoreError
            When the store is not open for writing, or the disk does not take it.
        """
        self._writable()
        paths = self._part_paths()
        if not paths:
            return
        try:
            merge = Merge(self._sources())
            for name in sorted(TABLES, key="cells".__eq__):  # cells are the last, since they say what there is
                _write_table(self.path / f"{name}.arrow", merge.table(name))
            for path in paths:
                path.unlink()
            files.sync_folder(self.path / "parts")
        except OSError as error:
            raise StoreError(f"out={self.path}: can't write results ({error.strerror or error})") from error

    def note_tracking(self, state: Mapping[str, Any]) -> None:
        """Keep in `store.json` what was logged where."""
        self._writable()
        self.info = dataclasses.replace(self.info, tracking=dict(state))
        files.write_json(self.path / "store.json", dataclasses.asdict(self.info))

    def _writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.path}: not open for writing")

    def _part_paths(self) -> list[Path]:
        return sorted(path for path in (self.path / "parts").glob("*.arrow") if path.stem.isdigit())

    def _sources(self) -> list[Source]:
        """The table files, and every part that is whole."""
        # Looked at first: what its writer compacts meanwhile is in the table files then.
        parts = []
        for path in self._part_paths():
            with suppress(FileNotFoundError):
                part = files.open_part(path)
                if part is None:
                    self._torn[path.name] = None
                else:
                    parts.append(part)
        return [files.TableFiles(self.path), *parts]


def _with_sweep(cells: pa.Table, sweep: str) -> pa.Table:
    if "sweep" in cells.column_names and cells["sweep"].null_count < cells.num_rows:
        return cells
    filled = texts([cells.num_rows], [sweep])
    at = cells.schema.get_field_index("sweep")
    if at < 0:
        return cells.append_column("sweep", filled)
    return cells.set_column(at, cells.schema.field(at), filled)


def _write_table(path: Path, table: pa.Table) -> None:
    if not table.num_rows:
        return
    with files.atomic(path) as file, pa.ipc.new_file(file, table.schema, options=files.COMPRESSED) as writer:
        writer.write_table(table, max_chunksize=_BATCH)
