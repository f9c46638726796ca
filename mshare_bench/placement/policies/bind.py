"""`bind`: CPUs and memory of the named nodes only, the first named first; nothing spills beyond them.

Options: `nodes`, pairs of machine and node id; all nodes if not given.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.topology import Topology, require_node
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import DataLayout, Occupancy, seat_in_order

__all__ = ["bind", "nodes_of", "require_nodes"]


@placement_policy("bind")
def bind(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the first named node that has room.

    Raises
    ------
    PlacementError
        When a node does not exist or the named ones have no room.
    """
    order = nodes_of(problem, options.get("nodes"))

    def first(occupancy: Occupancy, c: int, allowed: NDArray[np.bool_]) -> int:
        del occupancy, c
        return next((node for node in order if allowed[node]), -1)

    layout = DataLayout(nodes=frozenset(order))
    return seat_in_order(problem, tables, first, layout, ("bind", str(options["tables"])))


def nodes_of(problem: Problem, named: Sequence[tuple[int, int]] | None) -> list[int]:
    """Give the named nodes, pairs of machine and node id, as the problem numbers them; all where none is named.

    Raises
    ------
    PlacementError
        For a machine or a node that does not exist.
    """
    if named is None:
        return list(range(len(problem.cpu_room)))
    require_nodes(problem.topology, named)
    return [int(problem.start[machine]) + problem.topology.machine(machine).index(node) for machine, node in named]


def require_nodes(topology: Topology, named: Sequence[tuple[int, int]]) -> None:
    """Check that machines and nodes exist; PlacementError, naming the first that does not."""
    for machine, node in named:
        try:
            require_node(topology.machine(machine), node)
        except PlacementError as error:
            raise PlacementError(f"placement.nodes={machine}:{node}: {str(error).split(': ', 1)[1]}") from error
