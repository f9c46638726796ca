"""One scene for every policy for page tables: the toucher sits on node 0, and others walk."""

from typing import NamedTuple

from mshare_bench.placement.assignment import Shares
from mshare_bench.placement.cost import Cost, cost_of, node_use
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import GIB, topology

__all__ = ["TABLES", "Walked", "walked"]

TABLES = 2 << 20
"""Bytes of the domain's common tables."""


class Walked(NamedTuple):
    """Where the last process's own tables are, where the common ones, whether these are copied; and what it costs."""

    own: Shares
    common: Shares
    replicated: bool
    cost: Cost
    table_bytes: float


def walked(tables: str, *reads: float) -> Walked:
    """Place a process on each node, so many reads per second each, half of which are walks."""
    demands = [
        Demand(
            f"g{i}", 1, 4.0, 0, 8 << 10, "d", GIB, TABLES, 100.0, accesses_per_s=rate, walk_share=0.5, shared_share=0.5
        )
        for i, rate in enumerate(reads)
    ]
    problem = make_problem(topology(1, len(reads)), demands)
    made = assign(problem, "pack", tables)
    last = max(made.seats, key=lambda seat: seat.node)
    (copy,) = made.copies
    held = sum(row.page_table_bytes for row in node_use(problem, made))
    return Walked(last.tables, copy.tables, copy.replicated, cost_of(problem, made), held)
