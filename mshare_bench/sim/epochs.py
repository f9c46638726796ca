"""A placed point from epoch to epoch: what has to move, what is worth moving, and what that costs against other strategies.

The first epoch starts from the best place that the search finds, whatever the strategy; its nodes are the row's. The summary
holds the mean cost of the placements per second and the cost of all moves; `migrations` has the moves with their reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mshare_bench.domain.cell import Point
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.placement import EpochChoice, PlacementChoice
from mshare_bench.domain.topology import Topology, require_node
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.epochs import Epoch, Plan, compare_strategies
from mshare_bench.placement.migration import migration_costs
from mshare_bench.results.rows import Rows
from mshare_bench.sim.placed_rows import machine_name
from mshare_bench.sim.places import Places, problem_of, settled

__all__ = ["STRATEGIES", "Moved", "check_epochs", "epochs_of"]

STRATEGIES = ("planned", "never", "greedy")


@dataclass(frozen=True, slots=True)
class Moved:
    """A plan and how long its epochs last together, in seconds."""

    plan: Plan
    seconds: float

    def costs(self) -> dict[str, float]:
        """Columns of `cells`."""
        return {"placement_cost_ns": self.plan.running_ns / self.seconds, "moving_cost_ns": self.plan.moving_ns}

    def add(self, key: Mapping[str, Any], topology: Topology, rows: Rows) -> None:
        """Add rows of `migrations`."""
        for one in self.plan.migrations:
            rows.add(
                "migrations",
                **key,
                epoch=one.epoch,
                group=one.group.partition("#")[0],
                what=one.what,
                from_machine=machine_name(topology, one.from_machine),
                from_node=one.from_node,
                to_machine=machine_name(topology, one.to_machine),
                to_node=one.to_node,
                bytes=one.bytes,
                cost_ns=one.cost_ns,
                break_even_ns=one.break_even_ns,
                advice=one.advice,
                reason=one.reason.replace(one.group, one.group.partition("#")[0]),
            )


def check_epochs(point: Point, choice: PlacementChoice) -> None:
    """Say no to epochs that name what does not exist.

    Raises
    ------
    ConfigError
        For a strategy that does not exist, or no epoch.
    PlacementError
        For a machine or node that does not exist, and groups that are too large.
    """
    if choice.strategy not in STRATEGIES:
        raise ConfigError(f"placement.strategy={choice.strategy}: must be one of {', '.join(STRATEGIES)}")
    if not choice.epochs:
        raise ConfigError("placement.epochs=null: nothing to plan; say such as [60s, 60s drain 0:1]")
    topology = _topology(point)
    if EpochChoice.parse(choice.epochs[0]).share != 1:
        raise ConfigError(f"placement.epochs={choice.epochs[0]}: the first epoch runs all processes")
    for text in choice.epochs:
        epoch = EpochChoice.parse(text)
        try:
            for machine in epoch.dead:
                topology.machine(machine)
            for machine, node in epoch.drained:
                require_node(topology.machine(machine), node)
        except PlacementError as error:
            raise PlacementError(f"placement.epochs={text}: {error}") from error
    problem_of(point, topology, choice)


def epochs_of(
    point: Point, choice: PlacementChoice, model: CostModel | None = None, geometry: Geometry = X86_64
) -> tuple[Places, Moved]:
    """Plan a point's epochs with the strategy that its placement names.

    Raises
    ------
    PlacementError
        When an epoch has no room; the message names the epoch.
    """
    check_epochs(point, choice)
    topology = _topology(point)
    problem, bundles = problem_of(point, topology, choice, geometry)
    epochs = [_epoch(EpochChoice.parse(text), problem.demands) for text in choice.epochs]
    plans = compare_strategies(
        topology,
        epochs,
        budget_bytes=float("inf") if choice.budget is None else float(choice.budget),
        costs=migration_costs(model),
        overcommit=problem.overcommit,
    )
    plan = next(plan for name, plan in plans.items() if name == choice.strategy)
    places = settled(point, problem, bundles, plan.assignments[0], geometry)
    return places, Moved(plan, sum(epoch.seconds for epoch in epochs))


def _epoch(choice: EpochChoice, demands: tuple[Demand, ...]) -> Epoch:
    there = [replace(one, count=round(one.count * choice.share)) for one in demands if round(one.count * choice.share)]
    return Epoch(choice.seconds, tuple(there), choice.drained, choice.dead)


def _topology(point: Point) -> Topology:
    if point.machines is None:
        raise PlacementError("placement=epochs: needs a topology; name one with topology=")
    return point.machines
