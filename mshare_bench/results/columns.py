"""Arrow columns to and from Python and numpy without pandas.

`pa.array`, `pa.scalar` and `to_numpy` import pandas on first use where it is installed (1 to 2 s); the ways below do not.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = [
    "codes",
    "column",
    "empty",
    "holds",
    "indices",
    "known",
    "numbers",
    "positions",
    "repeated",
    "strings",
    "texts",
]

_NUMPY = {pa.int64(): np.int64, pa.float64(): np.float64}


def column(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """Make a column of strings, int64, float64 or bool; None is null."""
    items = list(values)
    if kind == pa.string():
        builder = pa.lib.StringBuilder()
        builder.append_values(items)
        return builder.finish()
    missing = np.fromiter((item is None for item in items), np.bool_, len(items))
    if missing.any():
        items = [0 if item is None else item for item in items]
    if kind == pa.bool_():
        data = np.packbits(np.fromiter(items, np.bool_, len(items)), bitorder="little")
    else:
        data = np.fromiter(items, _NUMPY[kind], len(items))
    return _filled(data, ~missing, kind, len(items))


def repeated(counts: Sequence[int], parts: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Make a column of numbers, so many rows per part: an array with one for each, or one number or None for all; NaN is null."""
    each = np.array(counts, np.int64)
    arrays = {at: part for at, part in enumerate(parts) if isinstance(part, np.ndarray) and part.ndim}
    single = [0 if part is None or at in arrays else part for at, part in enumerate(parts)]
    data = np.repeat(np.fromiter(single, _NUMPY[kind], len(single)), each)
    valid = np.repeat(np.fromiter((part is not None for part in parts), np.bool_, len(parts)), each)
    if arrays:
        ends = np.cumsum(each)
        for at, part in arrays.items():
            data[ends[at] - counts[at] : ends[at]] = part
    if kind == pa.float64():
        missing = np.isnan(data)
        data[missing], valid[missing] = 0.0, False
    return _filled(data, valid, kind, len(data))


def texts(counts: Sequence[int], parts: Sequence[Any]) -> pa.Array:
    """Make a column of strings, so many rows per part: a list with one for each, or one string or None for all.

    Every distinct string is written once and taken from there; a list that occurs again is looked at once.
    """
    found: dict[Any, int] = {None: 0}
    single = [0 if isinstance(part, list) else found.setdefault(part, len(found)) for part in parts]
    code = np.repeat(np.fromiter(single, np.int64, len(single)), np.array(counts, np.int64))
    known: dict[int, npt.NDArray[np.int64]] = {}
    end = 0
    for count, part in zip(counts, parts, strict=True):
        end += count
        if isinstance(part, list):
            if id(part) not in known:
                known[id(part)] = np.fromiter((found.setdefault(one, len(found)) for one in part), np.int64, len(part))
            code[end - count : end] = known[id(part)]
    return column(found, pa.string()).take(indices(code))


def empty(schema: pa.Schema) -> pa.Table:
    """Make a table without rows."""
    return pa.Table.from_arrays([column((), field.type) for field in schema], schema=schema)


def indices(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Make an int64 column from a numpy array, null where `valid` is false."""
    data = np.ascontiguousarray(values, np.int64)
    return _filled(data, np.ones(len(data), np.bool_) if valid is None else valid, pa.int64(), len(data))


def _filled(data: npt.NDArray[Any], valid: npt.NDArray[np.bool_], kind: pa.DataType, length: int) -> pa.Array:
    nulls = length - int(valid.sum())
    mask = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    return pa.Array.from_buffers(kind, length, [mask, pa.py_buffer(data)], nulls)


def numbers(values: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """Give an int64, int32 or float64 column as numpy, nulls as they lie in memory (see `known`)."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    kind = {pa.int64(): np.int64, pa.int32(): np.int32, pa.float64(): np.float64}[values.type]
    parts = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * np.dtype(kind).itemsize)
        for chunk in chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def known(values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
    """Tell where a column is not null."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    parts = []
    for chunk in chunks:
        mask = chunk.buffers()[0]
        if mask is None or not chunk.null_count:
            parts.append(np.ones(len(chunk), np.bool_))
        else:
            bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
            parts.append(bits[chunk.offset : chunk.offset + len(chunk)].astype(np.bool_))
    return np.concatenate(parts) if parts else np.empty(0, np.bool_)


def codes(values: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], list[str | None]]:
    """Give a column of strings as codes and the strings that they stand for; equal strings have equal codes, null is -1."""
    if not len(values):
        return np.empty(0, np.int32), []
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # older Arrow gives a chunked array of one chunk back
        encoded = encoded.chunk(0)
    found = numbers(encoded.indices).copy()
    found[~known(values)] = -1
    return found, strings(encoded.dictionary)


def holds(table: pa.Table, name: str, value: str) -> npt.NDArray[np.bool_]:
    """Mask of the rows where a column of words is this one."""
    code, values = codes(table[name])
    return np.equal(code, values.index(value) if value in values else -2)


def positions(values: pa.ChunkedArray, among: pa.Array) -> npt.NDArray[np.int64]:
    """Where each value of a column is among some; -1 where it is not."""
    import pyarrow.compute as pc

    found = pc.index_in(values, value_set=among)
    return np.where(known(found), numbers(found), -1).astype(np.int64)


def strings(values: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """Give a column of strings as a list."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    return [item for chunk in chunks for item in chunk.to_pylist()]
