"""`local`: as near as possible to the domain's data, so that sharers sit together; data where its first process runs."""

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import Occupancy, idlest, seat_in_order

__all__ = ["local"]


@placement_policy("local")
def local(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the nearest node to its domain that has room; one without a domain, or the first, on the idlest."""
    return seat_in_order(problem, tables, _nearest_home, names=("local", str(options["tables"])))


def _nearest_home(occupancy: Occupancy, c: int, allowed: NDArray[np.bool_]) -> int:
    problem = occupancy.problem
    best: tuple[float, int] | None = None
    for (domain, machine), home in occupancy.homes.items():
        if domain == problem.domain_of[c]:
            first, last = int(problem.start[machine]), int(problem.start[machine + 1])
            penalty = problem.kinds[problem.kind_of[machine]].penalty[:, home - first]
            for node in np.flatnonzero(allowed[first:last]):
                best = min(best or (np.inf, -1), (float(penalty[node]), first + int(node)))
    return best[1] if best else idlest(occupancy, c, allowed)
