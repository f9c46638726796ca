"""Moves the data of a running cell from one node to another and back into sight: how many pages, how long, and who refuses.

Asked for by `placement.horizon`, on the way of the model's `migrations` rows: from the first node with CPUs and memory to the
farthest. A page that several processes map is refused with -EACCES unless `MPOL_MF_MOVE_ALL` is given; both are tried. Page
tables stay where they are: the kernel has no call that moves them.
"""

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mshare_bench.errors import CapabilityError
from mshare_bench.real.numa import Move, move_pages, page_nodes
from mshare_bench.real.programs import Backed
from mshare_bench.results.rows import Rows
from mshare_bench.sim.moves import follow
from mshare_bench.sim.placed_rows import machine_name
from mshare_bench.sim.places import Places

__all__ = ["Moved", "add_moved", "move_data", "way_of"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it.

    Attributes
    ----------
    pages, page_bytes
        Pages that were asked to move, and how large one is.
    moved, refused
        Pages that went with MOVE_ALL; pages that plain MOVE refused, since others map them.
    duration_ns
        Of the one call with MOVE_ALL.
    """

    pages: int
    page_bytes: int
    moved: int
    refused: int
    duration_ns: int


def way_of(places: Places) -> tuple[int, int]:
    """Nodes to move from and to.

    Raises
    ------
    CapabilityError
        When the machine has only one node.
    """
    kind = places.problem.kinds[places.problem.kind_of[places.parts[0].machine]]
    start, away = follow(kind)
    if start == away:
        raise CapabilityError("placement.horizon: this machine has one node with CPUs and memory, so nothing can move")
    return start, away


def move_data(pid: int, backed: Sequence[Backed], page: int, way: tuple[int, int]) -> Moved:
    """Move what one process has mapped of the regions.

    Parameters
    ----------
    pid
        The process.
    page
        Bytes of a page as it is mapped.
    way
        Nodes to move from and to; what lies elsewhere is brought to the first beforehand.

    Raises
    ------
    CapabilityError
        When this user may not move pages of others.
    """
    start, away = way
    spans = [np.arange(one.placed.address, one.placed.address + one.placed.region.size, page) for one in backed]
    addresses = np.concatenate(spans).astype(np.uint64)
    try:
        addresses = addresses[page_nodes(pid, addresses) >= 0]
        move_pages(pid, addresses, start, Move.ALL)
        plain = move_pages(pid, addresses, away, Move.OWN)
        move_pages(pid, addresses, start, Move.ALL)
        begun = time.monotonic_ns()
        move_pages(pid, addresses, away, Move.ALL)
        took = time.monotonic_ns() - begun
        moved = int((page_nodes(pid, addresses) == away).sum())
    except OSError as error:
        raise CapabilityError(f"placement.horizon: pages can't be moved here: {error.strerror}") from error
    return Moved(len(addresses), page, moved, int((plain == -errno.EACCES).sum()), took)


def add_moved(key: Mapping[str, Any], places: Places, moved: Moved, way: tuple[int, int], rows: Rows) -> None:
    """Add a row of `migrations`; what to do is not measured, so advice and break-even are null."""
    part = places.parts[0]
    name = machine_name(places.problem.topology, part.machine)
    rows.add(
        "migrations",
        **key,
        epoch=0,
        group="+".join(one.name for one in part.point.workload.groups),
        what="data",
        from_machine=name,
        from_node=way[0],
        to_machine=name,
        to_node=way[1],
        bytes=moved.moved * moved.page_bytes,
        cost_ns=float(moved.duration_ns),
        reason=f"{moved.moved} of {moved.pages} pages moved with MPOL_MF_MOVE_ALL; plain MPOL_MF_MOVE refused "
        f"{moved.refused} of them (EACCES)",
    )
