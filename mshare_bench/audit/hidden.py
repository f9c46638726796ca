"""Tables of mappings that the kernel leaves out of ``pagemap``: raw frames, as devices and ``[vvar]`` have them.

Nothing shows which of their pages are mapped. But when a process has more tables than its pages explain, and the tables
that such mappings would need are **exactly** as many, they are put down to them; where it isn't exact, nothing is.

The kernel's clock, ``[vvar]``, is read by the code in ``[vdso]``: where no page of that code is mapped, neither in the process
nor in those that it was forked from (a fork copies the tables of the clock, not those of the code), it was never read.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.layout import Layout
from mshare_bench.audit.objects import Kind, Objects
from mshare_bench.audit.pieces import Pieces
from mshare_bench.domain.geometry import Geometry
from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.pagemap import ScanBuffer, open_pagemap
from mshare_bench.real.counters.procfs import read_file

__all__ = ["clock_read", "hidden_tables"]


def hidden_tables(
    layout: Layout, pieces: Pieces, missing: int, objects: Objects, geometry: Geometry, *, clock_read: bool
) -> list[tuple[int, int, int]]:
    """Find mappings whose tables explain what is missing.

    Parameters
    ----------
    layout
        Mappings of one address space.
    pieces
        What was found populated in it; of this address space alone.
    missing
        Tables that the kernel counts and no page explains.
    objects, geometry
        What is mapped, and how.
    clock_read
        Whether the process may have read the kernel's clock; see `clock_read`.

    Returns
    -------
    list of (level, number, tables)
        Tables by level and object; empty when nothing explains them exactly.
    """
    for ranges in _guesses(layout, pieces, objects, geometry.page, clock_read):
        seen = [set((level.start // span).tolist()) for level, span in zip(pieces.levels, geometry.spans, strict=True)]
        found: dict[tuple[int, int], int] = {}
        for start, end, number in ranges:
            for index, span in enumerate(geometry.spans):
                slots = set(range(start // span, (end - 1) // span + 1)) - seen[index]
                seen[index] |= slots
                if slots:
                    found[index, number] = found.get((index, number), 0) + len(slots)
            if sum(found.values()) > missing:
                break
        if found and sum(found.values()) == missing:
            return [(level, number, tables) for (level, number), tables in found.items()]
    return []


def clock_read(pid: int, layout: Layout) -> bool:
    """Whether a process, or one that it was forked from, has code of ``[vdso]`` mapped and so may have read the clock."""
    code = layout.start[layout.vdso].tolist()
    while code and pid > 0:
        maps = _read(f"/proc/{pid}/maps")
        # Another address, another program: what is above was not forked from but executed.
        if not any(line.startswith(b"%08x-" % code[0]) and line.endswith(b"[vdso]") for line in maps.splitlines()):
            return False
        try:
            with open_pagemap(f"/proc/{pid}/pagemap", ScanBuffer(8), scan=False) as pagemap:
                pagemap.scan(code[0], int(layout.end[layout.vdso][0]))
                if pagemap.buffer.used:
                    return True
        except (OSError, CapabilityError):
            return False
        status = _read(f"/proc/{pid}/status")
        at = status.find(b"\nPPid:\t")
        pid = int(status[at + 7 : status.find(b"\n", at + 1)]) if at >= 0 else 0
    return False


def _read(path: str) -> bytes:
    try:
        return read_file(path) or b""
    except CapabilityError:
        return b""


def _guesses(
    layout: Layout, pieces: Pieces, objects: Objects, page: int, clock: bool
) -> Iterator[list[tuple[int, int, int]]]:
    kinds = [objects[number].kind for number in layout.number.tolist()]
    device: NDArray[np.bool_] = np.array([kind is Kind.DEVICE for kind in kinds], np.bool_)
    device[pieces.mapping] = False
    hidden = layout.hidden if clock else np.zeros(len(kinds), np.bool_)
    if hidden.any():
        # The kernel's clock page is the first of its mapping; the others are for virtual clocks.
        start, number = layout.start[hidden], layout.number[hidden]
        yield list(zip(start[:1].tolist(), (start[:1] + page).tolist(), number[:1].tolist(), strict=True))
        yield _whole(layout, hidden)
    if device.any():
        yield _whole(layout, device)
        yield _whole(layout, device | hidden)


def _whole(layout: Layout, chosen: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    columns = layout.start[chosen], layout.end[chosen], layout.number[chosen]
    return list(zip(*(one.tolist() for one in columns), strict=True))
