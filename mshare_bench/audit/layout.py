"""The mappings of one address space, from ``/proc/PID/maps``, as arrays.

Processes that were forked from one parent have the same text in this file, and processes that run the same program have
the same lines but for the addresses: layouts and line ends that were seen before are not taken apart again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
_KEPT_LINES = 1 << 14
_VVAR, _VDSO = 1, 2

# Columns of what the end of a line says.
_NUMBER, _OFFSET, _LEAF, _PROTECTION, _SPECIAL = range(5)

_Ints = NDArray[np.int64]


class Part(NamedTuple):
    """A stretch of address space that is scanned in one go: one large mapping, or small neighbours.

    A tuple, since some are made for each process.

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
    """All mappings of an address space, ascending.

    Attributes
    ----------
    bounds
        First address of each mapping and the one after its last; bytes.
    columns
        What each is, as the properties below tell it. Shape (mappings, 5).
    numbers
        The objects, private memory left out.
    parts
        How to scan it.
    """

    bounds: Sequence[tuple[int, int]]
    columns: _Ints
    numbers: frozenset[int]
    parts: tuple[Part, ...]

    @property
    def edges(self) -> _Ints:
        """`bounds` as an array of shape (mappings, 2). Made anew: most layouts are scanned, then counted many at a time."""
        return np.array(self.bounds, np.int64).reshape(-1, 2)

    @property
    def start(self) -> _Ints:
        """First address of each mapping; shape (mappings,), as all that follow."""
        return self.edges[:, 0]

    @property
    def end(self) -> _Ints:
        """The address after each mapping."""
        return self.edges[:, 1]

    @property
    def offset(self) -> _Ints:
        """Offset in the object, bytes."""
        return self.columns[:, _OFFSET]

    @property
    def number(self) -> _Ints:
        """Object, as `Objects` numbers them."""
        return self.columns[:, _NUMBER]

    @property
    def leaf(self) -> _Ints:
        """Lowest level that has entries: 0 for base pages, 1 and 2 for hugetlb pages of 2 MiB and 1 GiB, `NO_TABLES`."""
        return self.columns[:, _LEAF]

    @property
    def deposits(self) -> NDArray[np.bool_]:
        """Whether a transparent huge page there has a PTE table deposited with it (anonymous memory)."""
        which: NDArray[np.bool_] = self.number == PRIVATE
        return which

    @property
    def protection(self) -> _Ints:
        """Read 1, write 2, execute 4, shared 8."""
        return self.columns[:, _PROTECTION]

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Whether the kernel leaves the mapping out of pagemap (``[vvar]``); devices may be as well."""
        which: NDArray[np.bool_] = self.columns[:, _SPECIAL] == _VVAR
        return which

    @property
    def vdso(self) -> NDArray[np.bool_]:
        """Whether it is the code that reads what ``[vvar]`` holds."""
        which: NDArray[np.bool_] = self.columns[:, _SPECIAL] == _VDSO
        return which

    @property
    def wide(self) -> bool:
        """Whether it reaches beyond 47 bits of address."""
        return len(self.bounds) > 0 and self.bounds[-1][1] > 1 << 47


class Layouts:
    """Takes ``maps`` texts apart, and remembers the last ones."""

    def __init__(self, objects: Objects, geometry: Geometry) -> None:
        self._objects = objects
        self._spans = geometry.spans
        # By IPC namespace: bounds and row by line, and the row by the end of a line.
        self._lines: dict[int, dict[bytes, tuple[tuple[int, int], int]]] = {}
        self._tails: dict[int, dict[bytes, int]] = {}
        self._rows: list[tuple[int, ...]] = []
        self._shapes: dict[tuple[int, ...], tuple[_Ints, frozenset[int]]] = {}
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
        lines = self._lines.setdefault(namespace, {})
        if len(lines) > _KEPT_LINES:
            lines.clear()
        bounds, rows = [], []
        for line in text.split(b"\n"):
            one = lines.get(line)
            if one is None:
                if not line:
                    continue
                one = lines[line] = self._line(line, namespace, pid)
            bounds.append(one[0])
            rows.append(one[1])
        if bounds and bounds[-1][1] >> 63:  # [vsyscall]: in the kernel's half
            del bounds[-1], rows[-1]
        columns, numbers = self._shape(tuple(rows))
        return Layout(bounds, columns, numbers, self._plan(bounds, rows))

    def _shape(self, rows: tuple[int, ...]) -> tuple[_Ints, frozenset[int]]:
        """Columns and objects of mappings that differ in nothing but their addresses."""
        shape = self._shapes.get(rows)
        if shape is None:
            if len(self._shapes) > _KEPT:
                self._shapes.clear()
            columns = np.array([self._rows[row] for row in rows], np.int64).reshape(-1, 5)
            shape = columns, frozenset(columns[:, _NUMBER].tolist()) - {PRIVATE}
            self._shapes[rows] = shape
        return shape

    def _line(self, line: bytes, namespace: int, pid: int) -> tuple[tuple[int, int], int]:
        bounds, _, tail = line.partition(b" ")
        low, _, high = bounds.partition(b"-")
        tails = self._tails.setdefault(namespace, {})
        row = tails.get(tail)
        if row is None:
            row = tails[tail] = len(self._rows)
            self._rows.append(self._tail(tail, namespace, pid))
        return (int(low, 16), int(high, 16)), row

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

    def _plan(self, bounds: Sequence[tuple[int, int]], rows: Sequence[int]) -> tuple[Part, ...]:
        span = self._spans[0]
        large = _LARGE * span
        parts: list[Part] = []
        after = 0
        for at, (first, last) in enumerate(bounds):
            if last - first < large:
                continue
            if at > after:
                parts.append(Part(bounds[after][0], bounds[at - 1][1], None, 0))
            who, where = self._rows[rows[at]][:2]
            place = first if who == PRIVATE else first % span
            phase = 0 if who == PRIVATE else (first - where) % span
            parts.append(Part(first, last, (who, where, last - first, place), phase))
            after = at + 1
        if after < len(bounds):
            parts.append(Part(bounds[after][0], bounds[-1][1], None, 0))
        return tuple(parts)


def _special(path: str) -> int:
    return _VVAR if path.startswith("[vvar") else _VDSO if path == "[vdso]" else 0


def _ipc_namespace(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/ipc").stat().st_ino
    except OSError:
        return 0
