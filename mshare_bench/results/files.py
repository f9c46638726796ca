"""The files of a store: written whole or not at all, and noticed when they are torn.

A *part* holds the tables of one batch as Arrow IPC streams, one after the other, and a trailer (length, CRC-32, magic) by which
a torn one is told from a whole one. A *table file* (`cells.arrow`) is one Arrow IPC file. Both are compressed with LZ4, and read
by the column: what is not asked for is not unpacked.
"""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc

from mshare_bench.errors import StoreError
from mshare_bench.results.schema import SCHEMA_VERSION, TABLES, schema

__all__ = [
    "COMPRESSED",
    "Part",
    "TableFiles",
    "atomic",
    "check_version",
    "conform",
    "open_part",
    "pack",
    "sync_folder",
    "unpack",
    "write_arrow",
    "write_json",
    "write_part",
]

COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")
"""How parts and table files are written."""

_TRAILER = struct.Struct("<QI4s")
_MAGIC = b"MSBP"


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name `path` once it is written and on disk.

    A reader, and whoever comes after a crash, sees the old file or the new one, never half of it. The temporary name starts
    with a dot and ends in `.tmp`.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names of a folder on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow IPC file, whole or not at all.

    Raises
    ------
    StoreError
        When it can't be written.
    """
    try:
        with atomic(path) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    except OSError as error:
        raise StoreError(f"{path}: can't be written ({error.strerror or error})") from error


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a small JSON file atomically."""
    with atomic(path) as file:
        file.write(json.dumps(values, indent=2, default=str).encode() + b"\n")


def pack(tables: Mapping[str, pa.Table]) -> pa.Buffer:
    """Put the tables of one batch, in the contract's order, behind one another as Arrow IPC streams.

    Raises
    ------
    KeyError
        For a table, or a column, that the contract does not have.
    """
    unknown = set(tables) - set(TABLES)
    if unknown:
        raise KeyError(f"not in the results contract: {', '.join(sorted(unknown))}")
    sink = pa.BufferOutputStream()
    for name in TABLES:
        table = tables.get(name)
        if table is not None and table.num_rows:
            with pa.ipc.new_stream(sink, schema(name), options=COMPRESSED) as stream:
                stream.write_table(conform(table, name))
    return sink.getvalue()


def unpack(data: pa.Buffer | bytes, path: Path = Path()) -> "Part":
    """Find the tables of what `pack` has made; `path` is named in errors.

    Raises
    ------
    StoreError
        When it was made with another major version of the schema.
    """
    data = pa.py_buffer(data)
    streams: dict[str, pa.Buffer] = {}
    reader = pa.BufferReader(data)
    while (start := reader.tell()) < data.size:
        messages = pa.ipc.MessageReader.open_stream(reader)
        head = pa.ipc.read_schema(messages.read_next_message())
        check_version(head, path)
        for _ in messages:
            pass
        streams[head.metadata[b"table"].decode()] = data.slice(start, reader.tell() - start)
    return Part(streams)


def write_part(path: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write one part atomically.

    Raises
    ------
    KeyError
        As `pack` does.
    """
    data = pack(tables)
    with atomic(path) as file:
        file.write(data)
        file.write(_TRAILER.pack(len(data), zlib.crc32(data), _MAGIC))


class Part:
    """Tables of a batch, read when they are asked for; made by `unpack` and `open_part`."""

    def __init__(self, streams: Mapping[str, pa.Buffer]) -> None:
        self._streams = streams

    def tables(self) -> dict[str, pa.Table]:
        """Every table, by name."""
        return {name: table for name in self._streams if (table := self.table(name)) is not None}

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Rows of a table, or some of its columns; None where the part has none."""
        stream = self._streams.get(name)
        return None if stream is None else _read(pa.ipc.open_stream, stream, name, columns)


class TableFiles:
    """The table files of a folder, as far as they are there; each stays the one that it was when it was first read.

    Both ways to read raise a StoreError where a file can't be read, or was written with another major version of the schema.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, pa.Buffer | None] = {}

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Rows of a table, or some of its columns; None where there is no such file."""
        path = self._folder / f"{name}.arrow"
        if name not in self._open:
            self._open[name] = _mapped(path) if path.exists() else None
        file = self._open[name]
        return None if file is None else _read_file(path, file, name, columns)


def open_part(path: Path) -> Part | None:
    """Look at a part; None when it is torn.

    Raises
    ------
    StoreError
        When it was written with another major version of the schema.
    """
    if path.stat().st_size < _TRAILER.size:
        return None
    buffer = _mapped(path)
    body = buffer.slice(0, buffer.size - _TRAILER.size)
    length, checksum, magic = _TRAILER.unpack(buffer.slice(body.size).to_pybytes())
    if magic != _MAGIC or length != body.size or checksum != zlib.crc32(body):
        return None
    return unpack(body, path)


def _mapped(path: Path) -> pa.Buffer:
    try:
        with pa.memory_map(str(path)) as source:
            return source.read_buffer()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: not a readable table of results ({error.strerror or error})") from error


def _read_file(path: Path, file: pa.Buffer, name: str, columns: Sequence[str] | None) -> pa.Table:
    try:
        check_version(pa.ipc.open_file(file).schema, path)
        return _read(pa.ipc.open_file, file, name, columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise StoreError(f"{path}: not a readable table of results ({str(error).splitlines()[0]})") from error


def _read(opened: Callable[..., Any], source: Any, name: str, columns: Sequence[str] | None) -> pa.Table:
    with opened(source) as reader:
        if columns is None:
            return conform(reader.read_all(), name)
        # One column at least: of none Arrow reads all, and it is from one that the number of rows is known.
        chosen = [index for index, field in enumerate(reader.schema) if field.name in columns] or [0]
    with opened(source, options=pa.ipc.IpcReadOptions(included_fields=chosen)) as reader:
        return conform(reader.read_all(), name, columns)


def check_version(found: pa.Schema, path: Path) -> None:
    """Refuse another major version of the schema.

    Raises
    ------
    StoreError
        Naming both versions and what to do.
    """
    version = (found.metadata or {}).get(b"schema_version", b"").decode()
    if not version:
        raise StoreError(f"{path}: no table of mshare-bench (its schema has no schema_version)")
    ours, theirs = SCHEMA_VERSION.split(".")[0], version.split(".")[0]
    if ours != theirs:
        raise StoreError(
            f"{path}: schema_version {version}, this mshare-bench reads {ours}.x; convert it with the release that wrote it: "
            f"mshare-bench convert {path.parent} --to {SCHEMA_VERSION}"
        )


def conform(table: pa.Table, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Give a table the contract's columns: what an older minor version lacks is null, what a newer one adds is left out.

    Parameters
    ----------
    columns
        Some of them, in this order; all by default.

    Raises
    ------
    KeyError
        For a column of the same version that the contract does not have.
    """
    wanted = schema(name)
    if columns is None and table.schema.equals(wanted, check_metadata=True):
        return table
    version = (table.schema.metadata or {}).get(b"schema_version", SCHEMA_VERSION.encode()).decode()
    extra = [column for column in table.column_names if column not in wanted.names]
    if extra and version == SCHEMA_VERSION:
        raise KeyError(f"{name}.{extra[0]} is not in the results contract")
    if columns is not None:
        wanted = pa.schema([wanted.field(column) for column in columns], wanted.metadata)
    arrays = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)
