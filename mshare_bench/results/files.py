"""The files of a store: written whole or not at all, and noticed when they are torn.

A *part* holds the tables of one batch as Arrow IPC streams, one after the other, and a trailer (length, CRC-32, magic) by which
a torn one is told from a whole one. A *table file* (`cells.arrow`) is one Arrow IPC file, compressed with LZ4.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc

from mshare_bench.errors import StoreError
from mshare_bench.results.schema import SCHEMA_VERSION, TABLES, schema

__all__ = [
    "atomic",
    "check_version",
    "conform",
    "read_part",
    "read_table",
    "sync_folder",
    "write_arrow",
    "write_json",
    "write_part",
]

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


def write_part(path: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write one part atomically, the tables in the contract's order.

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
            with pa.ipc.new_stream(sink, schema(name)) as stream:
                stream.write_table(conform(table, name))
    data = sink.getvalue()
    with atomic(path) as file:
        file.write(data)
        file.write(_TRAILER.pack(len(data), zlib.crc32(data), _MAGIC))


def read_part(path: Path) -> dict[str, pa.Table] | None:
    """Read a part, its buffers lying in the page cache; None when it is torn.

    Raises
    ------
    StoreError
        When it was written with another major version of the schema.
    """
    if path.stat().st_size < _TRAILER.size:
        return None
    with pa.memory_map(str(path)) as source:
        buffer = source.read_buffer()
    body = buffer.slice(0, buffer.size - _TRAILER.size)
    length, checksum, magic = _TRAILER.unpack(buffer.slice(body.size).to_pybytes())
    if magic != _MAGIC or length != body.size or checksum != zlib.crc32(body):
        return None
    tables: dict[str, pa.Table] = {}
    reader = pa.BufferReader(body)
    while reader.tell() < body.size:
        with pa.ipc.open_stream(reader) as stream:
            table = stream.read_all()
        check_version(table.schema, path)
        name = table.schema.metadata[b"table"].decode()
        tables[name] = conform(table, name)
    return tables


def read_table(path: Path, name: str, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Read a table file; `columns` picks some of its columns.

    Raises
    ------
    StoreError
        When it can't be read, or was written with another major version of the schema.
    """
    try:
        with pa.memory_map(str(path)) as source:
            file = pa.ipc.open_file(source)
            check_version(file.schema, path)
            if columns is None:
                return conform(file.read_all(), name)
            chosen = [index for index, field in enumerate(file.schema) if field.name in columns]
            options = pa.ipc.IpcReadOptions(included_fields=chosen)
            return pa.ipc.open_file(source, options=options).read_all().select(list(columns))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise StoreError(f"{path}: not a readable table of results ({str(error).splitlines()[0]})") from error


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


def conform(table: pa.Table, name: str) -> pa.Table:
    """Give a table the contract's columns: what an older minor version lacks is null, what a newer one adds is left out.

    Raises
    ------
    KeyError
        For a column of the same version that the contract does not have.
    """
    wanted = schema(name)
    if table.schema.equals(wanted, check_metadata=True):
        return table
    version = (table.schema.metadata or {}).get(b"schema_version", SCHEMA_VERSION.encode()).decode()
    extra = [column for column in table.column_names if column not in wanted.names]
    if extra and version == SCHEMA_VERSION:
        raise KeyError(f"{name}.{extra[0]} is not in the results contract")
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in wanted
    ]
    return pa.Table.from_arrays(columns, schema=wanted)
