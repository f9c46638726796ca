"""Address spaces made up for tests, in a geometry with small tables, and the slow and obvious way to count their tables."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mshare_bench.audit.layout import Layout
from mshare_bench.audit.objects import PRIVATE, Identity, Kind
from mshare_bench.audit.population import Population
from mshare_bench.domain.geometry import Geometry

__all__ = ["PAGE", "TOY", "Mapping", "layout_of", "objects_of", "population_of", "tables_of"]

PAGE = 4096
#: Tables of 4, 16 and 64 pages.
TOY = Geometry("toy", PAGE, 4, (4 * PAGE, 16 * PAGE, 64 * PAGE), 1 << 47)


@dataclass(frozen=True)
class Mapping:
    """A mapping, in pages; `pages` are those populated, counted from the start of the address space."""

    start: int
    length: int
    number: int
    offset: int = 0
    pages: frozenset[int] = frozenset()
    leaf: int = 0
    huge: bool = False
    protection: int = 11


def layout_of(mappings):
    """Layout of those mappings; `parts` is left empty."""
    names = ("start", "length", "number", "offset", "leaf", "protection")
    start, length, number, offset, leaf, protection = (
        np.array([getattr(one, name) for one in mappings], np.int64) for name in names
    )
    bounds = list(zip((start * PAGE).tolist(), ((start + length) * PAGE).tolist(), strict=True))
    columns = np.stack([number, offset * PAGE, leaf, protection, np.zeros_like(number)], axis=1)
    return Layout(bounds, columns, frozenset(number.tolist()) - {PRIVATE}, ())


def population_of(mappings):
    """Ranges that those mappings populate; neighbours are one range unless only one of them is huge, as the kernel has it."""
    pages = sorted((page, one.huge) for one in mappings for page in one.pages)
    ranges = []
    for page, huge in pages:
        if ranges and ranges[-1][1] == page and ranges[-1][2] == huge:
            ranges[-1][1] = page + 1
        else:
            ranges.append([page, page + 1, huge])
    return Population(np.array(ranges, np.int64).reshape(-1, 3) * PAGE, False)


def tables_of(mappings, geometry=TOY):
    """Count tables page by page: for each level, the table's number -> mappings (as indices) that have a page in it."""
    levels = [defaultdict(list) for _ in geometry.spans]
    for index, one in enumerate(mappings):
        leaf = max(one.leaf, 1 if one.huge and one.number != PRIVATE else 0)
        for page in sorted(one.pages):
            for level, span in enumerate(geometry.spans):
                if leaf <= level:
                    levels[level][page * PAGE // span].append((page, index))
    return levels


def objects_of(*kinds):
    """Objects with numbers from 1 on, of those kinds."""
    return [Identity("(private memory)", Kind.PRIVATE, shared=False)] + [
        Identity(f"object {at}", kind, shared=kind is not Kind.PRIVATE_FILE) for at, kind in enumerate(kinds, 1)
    ]
