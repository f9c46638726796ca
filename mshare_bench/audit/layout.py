"""The mappings of one address space, from ``/proc/PID/maps``, as arrays.

Processes that were forked from one parent have the same text in this file, and processes that run the same program have
the same lines but for the addresses: layouts and line ends that were seen before are not taken apart again.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.objects import PRIVATE, Kind, Objects
from mshare_bench.domain.geometry import Geometry

__all__ = ["NO_TABLES", "Layout", "Layouts", "Part"]

#: Leaf level of a mapping that needs no table in the process that has it (an mshare window).
NO_TABLES = 3

# From this many tables on, a mapping is looked at by itself instead of together with its neighbours.
_LARGE = 16
_KEPT = 128
_VVAR, _VDSO = 1, 2

# What the end of a line says: object, offset, leaf level, protection, special mapping.
_COLUMNS = 5
_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (.*)\n")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of address space that is scanned in one go: one large mapping, or small neighbours.

    Attributes
    ----------
    start, end
        Bytes.
    key
        Equal for mappings of the same part of the same object at the same place within a table: processes that share it
        are likely to have the same pages mapped. None for small neighbours.
    phase
        How far the mapping is off the object's own multiples of a table's span; 0 where it makes no difference.
    """

    start: int
    end: int
    key: tuple[int, ...] | None
    phase: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All mappings of an address space, ascending. Arrays have shape (mappings,).

    Attributes
    ----------
    start, end, offset
        Addresses, and offset in the object; bytes.
    number
        Object, as `Objects` numbers them.
    leaf
        Lowest level that has entries: 0 for base pages, 1 and 2 for hugetlb pages of 2 MiB and 1 GiB, `NO_TABLES`.
    deposits
        Whether a transparent huge page there has a PTE table deposited with it (anonymous memory).
    protection
        Read 1, write 2, execute 4, shared 8.
    hidden
        Whether the kernel leaves the mapping out of pagemap (``[vvar]``); devices may be as well.
    vdso
        Whether it is the code that reads what ``[vvar]`` holds.
    numbers
        The objects, private memory left out.
    parts
        How to scan it.
    wide
        Whether it reaches beyond 47 bits of address.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    offset: NDArray[np.int64]
    number: NDArray[np.int64]
    leaf: NDArray[np.int64]
    deposits: NDArray[np.bool_]
    protection: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    vdso: NDArray[np.bool_]
    numbers: frozenset[int]
    parts: tuple[Part, ...]
    wide: bool


class Layouts:
    """Takes ``maps`` texts apart, and remembers the last ones."""

    def __init__(self, objects: Objects, geometry: Geometry) -> None:
        self._objects = objects
        self._spans = geometry.spans
        # By IPC namespace: rows of `_table` by the end of a line.
        self._tails: dict[int, dict[bytes, int]] = {}
        self._rows: list[tuple[int, ...]] = []
        self._table = np.empty((0, _COLUMNS), np.int64)
        self._kept: OrderedDict[tuple[bytes, int], Layout] = OrderedDict()

    def layout(self, text: bytes, pid: int) -> Layout:
        """Take the text of a ``maps`` file apart."""
        namespace = _ipc_namespace(pid) if b"/SYSV" in text else 0
        key = (text, namespace)
        layout = self._kept.get(key)
        if layout is None:
            layout = self._parse(text, namespace, pid)
            self._kept[key] = layout
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return layout

    def _parse(self, text: bytes, namespace: int, pid: int) -> Layout:
        tails = self._tails.setdefault(namespace, {})
        bounds: list[int] = []
        rows: list[int] = []
        for low, high, tail in _LINE.findall(text):
            row = tails.get(tail)
            if row is None:
                row = tails[tail] = len(self._rows)
                self._rows.append(self._tail(tail, namespace, pid))
            bounds += int(low, 16), int(high, 16)
            rows.append(row)
        if bounds and bounds[-1] >> 63:  # [vsyscall]: in the kernel's half
            del bounds[-2:], rows[-1:]
        if len(self._table) < len(self._rows):
            self._table = np.array(self._rows, np.int64)
        edges = np.array(bounds, np.int64).reshape(-1, 2)
        number, offset, leaf, protection, special = self._table[rows].T if rows else np.empty((_COLUMNS, 0), np.int64)
        start, end = edges[:, 0], edges[:, 1]
        return Layout(
            start,
            end,
            offset,
            number,
            leaf,
            number == PRIVATE,
            protection,
            special == _VVAR,
            special == _VDSO,
            frozenset(number.tolist()) - {PRIVATE},
            self._plan(start, end, number, offset),
            bool(bounds) and bounds[-1] > 1 << 47,
        )

    def _tail(self, tail: bytes, namespace: int, pid: int) -> tuple[int, ...]:
        # rw-s 00000000 00:01 25                         /memfd:buffers (deleted)
        fields = tail.decode("utf-8", "replace").split(None, 4)
        permissions, offset, device, inode = fields[:4]
        path = fields[4] if len(fields) > 4 else ""
        shared = permissions[3] == "s"
        number = self._objects.number(device, int(inode), path, shared=shared, namespace=namespace, pid=pid)
        identity = self._objects[number]
        leaf = sum(span <= identity.page_bytes for span in self._spans)
        if identity.kind is Kind.MSHARE:
            leaf = NO_TABLES
        protection = sum(1 << bit for bit, letter in enumerate("rwxs") if permissions[bit] == letter)
        return number, int(offset, 16), leaf, protection, _special(path)

    def _plan(
        self, start: NDArray[np.int64], end: NDArray[np.int64], number: NDArray[np.int64], offset: NDArray[np.int64]
    ) -> tuple[Part, ...]:
        span = self._spans[0]
        parts: list[Part] = []
        after = 0
        for at in np.flatnonzero(end - start >= _LARGE * span).tolist():
            if at > after:
                parts.append(Part(int(start[after]), int(end[at - 1]), None, 0))
            first, last, who, where = int(start[at]), int(end[at]), int(number[at]), int(offset[at])
            place = first if who == PRIVATE else first % span
            phase = 0 if who == PRIVATE else (first - where) % span
            parts.append(Part(first, last, (who, where, last - first, place), phase))
            after = at + 1
        if after < len(start):
            parts.append(Part(int(start[after]), int(end[-1]), None, 0))
        return tuple(parts)


def _special(path: str) -> int:
    return _VVAR if path.startswith("[vvar") else _VDSO if path == "[vdso]" else 0


def _ipc_namespace(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/ipc").stat().st_ino
    except OSError:
        return 0
