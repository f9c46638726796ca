"""`interleave`: the idlest node next; all data, private and shared, evenly over the machine's nodes."""

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import DataLayout, idlest, seat_in_order

__all__ = ["interleave"]


@placement_policy("interleave")
def interleave(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the idlest node, and interleave all data."""
    layout = DataLayout(interleave_private=True, interleave_shared=True)
    return seat_in_order(problem, tables, idlest, layout, ("interleave", str(options["tables"])))
