"""What the machine's `PageTables` is worth here: how far it moves by itself, and whether it counts PUD pages.

Older kernels leave PUD pages out (seen on 6.1; 6.12 and 6.18 count them): a process shows 4 KiB less there than it has for every
slot of 512 GiB that it uses. `VmPTE` counts them everywhere.
"""

import mmap
import time

from mshare_bench.domain.units import GIB, KIB
from mshare_bench.real.agent import ops as o
from mshare_bench.real.counters.page_tables import settle
from mshare_bench.real.launch import ProcessTree

__all__ = ["counts_pud_pages", "page_table_noise", "settled"]

_QUIET_S = 0.05

_READINGS = 5
_AGENTS = 20
_SLOTS = 100
_SLOT = 512 * GIB


def settled() -> int | None:
    """`PageTables` once it stands still; None where its batches can't be folded in, since it may then lag by megabytes."""
    reading = settle(timeout_s=2.0, quiet_s=_QUIET_S)
    return reading.page_table_bytes if reading.refreshed else None


def page_table_noise() -> int | None:
    """What the machine's `PageTables` moves by itself: the widest of a few readings around empty cells, which map nothing."""
    readings = []
    for _ in range(_READINGS):
        with ProcessTree([{"attach": []}], _AGENTS) as tree:
            tree.launch()
            before = settled()
            tree.run("attach")
            time.sleep(_QUIET_S)
            readings.append((before, settled()))
    known = [after - before for before, after in readings if before is not None and after is not None]
    return max(abs(moved) for moved in known) if known else None


def counts_pud_pages() -> bool | None:
    """Whether `PageTables` counts PUD pages: processes touch a page in each of many slots, which takes one table of every level.

    Returns
    -------
    bool or None
        None where the counter can't be read.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    places = [(number + 2) * _SLOT for number in range(_SLOTS)]
    attach: list[o.Op] = []
    for address in places:
        attach += [o.Map(address, mmap.PAGESIZE, flags=flags), o.Touch(address, 1, write=True)]
    with ProcessTree([{"attach": attach}], _AGENTS) as tree:
        tree.launch()
        before = settled()
        tree.run("attach")
        after = settled()
    if before is None or after is None:
        return None
    two_levels, three_levels = (levels * _AGENTS * _SLOTS * 4 * KIB for levels in (2, 3))
    return after - before > (two_levels + three_levels) / 2
