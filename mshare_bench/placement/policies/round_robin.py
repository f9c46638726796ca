"""`round_robin`: nodes in turn; data where its first process runs."""

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import Occupancy, seat_in_order

__all__ = ["round_robin"]


@placement_policy("round_robin")
def round_robin(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the next node, after the one before it, that has room."""
    last = -1

    def after(occupancy: Occupancy, c: int, allowed: NDArray[np.bool_]) -> int:
        nonlocal last
        del occupancy, c
        turn = np.flatnonzero(allowed)
        last = int(turn[np.searchsorted(turn, last + 1) % len(turn)])
        return last

    return seat_in_order(problem, tables, after, names=("round_robin", str(options["tables"])))
