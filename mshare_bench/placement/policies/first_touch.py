"""`first_touch`: what a kernel does unasked: the scheduler takes the idlest node, data lies where its first process runs.

Shared data all lands with the first unit of its domain, however many run elsewhere.
"""

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy
from mshare_bench.placement.seating import idlest, seat_in_order

__all__ = ["first_touch"]


@placement_policy("first_touch")
def first_touch(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Seat every unit on the idlest node; all data lies with its first toucher."""
    return seat_in_order(problem, tables, idlest, names=("first_touch", str(options["tables"])))
