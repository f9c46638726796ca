"""`spread`: the node with the largest share of idle CPUs next; shared data evenly over the machine's nodes."""

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import DataLayout, idlest, seat_in_order

__all__ = ["spread"]


@placement_policy("spread")
def spread(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the idlest node; private data stays there, shared data is interleaved."""
    layout = DataLayout(interleave_shared=True)
    return seat_in_order(problem, tables, idlest, layout, ("spread", str(options["tables"])))
