"""`optimal`: the cheapest placement, of page tables too; see `mshare_bench.placement.optimal`.

Options: `time_limit` in seconds, `gap` (relative, at which a placement counts as optimal), `seed`.
"""

from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import Options, TablePolicy, placement_policy

__all__ = ["optimal"]


@placement_policy("optimal")
def optimal(problem: Problem, tables: TablePolicy, options: Options) -> Assignment:
    """Minimise the cost; the policy for tables is not asked, they are chosen along with everything else."""
    from mshare_bench.placement.optimal import optimize

    del tables
    known = {key: options[key] for key in ("time_limit", "gap", "seed") if key in options}
    return optimize(problem, **known).assignment
