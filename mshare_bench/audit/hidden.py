"""Tables of mappings that the kernel leaves out of ``pagemap``: raw frames, as devices and ``[vvar]`` have them.

Nothing shows which of their pages are mapped. But when a process has more tables than its pages explain, and the tables
that such mappings would need are **exactly** as many, they are put down to them; where it isn't exact, nothing is.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.layout import Layout
from mshare_bench.audit.objects import Kind, Objects
from mshare_bench.audit.pieces import Pieces
from mshare_bench.domain.geometry import Geometry

__all__ = ["hidden_tables"]


def hidden_tables(
    layout: Layout, pieces: Pieces, missing: int, objects: Objects, geometry: Geometry
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

    Returns
    -------
    list of (level, number, tables)
        Tables by level and object; empty when nothing explains them exactly.
    """
    for ranges in _guesses(layout, pieces, objects, geometry.page):
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


def _guesses(layout: Layout, pieces: Pieces, objects: Objects, page: int) -> Iterator[list[tuple[int, int, int]]]:
    kinds = [objects[number].kind for number in layout.number.tolist()]
    device: NDArray[np.bool_] = np.array([kind is Kind.DEVICE for kind in kinds], np.bool_)
    device &= ~np.isin(np.arange(len(kinds)), pieces.mapping)
    if layout.hidden.any():
        # The kernel's clock page is the first of its mapping; the others are for virtual clocks.
        start = layout.start[layout.hidden]
        number = layout.number[layout.hidden]
        yield list(zip(start[:1].tolist(), (start[:1] + page).tolist(), number[:1].tolist(), strict=True))
        yield _whole(layout, layout.hidden)
    if device.any():
        yield _whole(layout, device)
        yield _whole(layout, device | layout.hidden)


def _whole(layout: Layout, chosen: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    columns = layout.start[chosen], layout.end[chosen], layout.number[chosen]
    return list(zip(*(one.tolist() for one in columns), strict=True))
