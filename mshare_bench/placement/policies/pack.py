"""`pack`: fill one node after the other; data where its first process runs. Few nodes and machines in use."""

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import Occupancy, seat_in_order

__all__ = ["pack"]


@placement_policy("pack")
def pack(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the first node that has room."""
    return seat_in_order(problem, tables, _first, names=("pack", str(options["tables"])))


def _first(occupancy: Occupancy, c: int, allowed: NDArray[np.bool_]) -> int:
    del occupancy, c
    return int(np.argmax(allowed))
