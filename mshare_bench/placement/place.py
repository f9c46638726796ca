"""Placement by name: the one call that the rest of the project makes."""

from collections.abc import Sequence
from typing import Any

from mshare_bench.domain.topology import Topology
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.problem import Prices, Problem, make_problem
from mshare_bench.placement.registry import policies, require_policies, table_policies

__all__ = ["assign", "place"]


def place(
    topology: Topology,
    demands: Sequence[Demand],
    policy: str = "first_touch",
    tables: str = "first_touch",
    *,
    overcommit: float = 1.0,
    prices: Prices | None = None,
    **options: Any,
) -> Assignment:
    """Place demands on a topology.

    Parameters
    ----------
    policy, tables
        Names in the registries of policies for groups with their data, and for page tables; `optimal` chooses both.
    overcommit
        How many busy CPUs count as one.
    prices
        Weights of the cost function, of which only `optimal` takes notice.
    options
        The policy's own, such as `nodes` of `bind` and `time_limit` of `optimal`.

    Raises
    ------
    ConfigError
        For a policy that does not exist or demands that contradict each other.
    PlacementError
        When there is no room; the message says what is missing.
    """
    return assign(make_problem(topology, demands, overcommit=overcommit, prices=prices), policy, tables, **options)


def assign(problem: Problem, policy: str, tables: str = "first_touch", **options: Any) -> Assignment:
    """Place an arranged problem; see `place`."""
    require_policies(policy, tables)
    return policies()[policy](problem, table_policies()[tables], {**options, "tables": tables})
