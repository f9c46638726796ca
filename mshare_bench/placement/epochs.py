"""Plans over time: load changes, nodes drain, machines die, groups arrive and leave.

Three strategies: *never* moves only what must; *greedy* goes to the best placement it finds in every epoch, whatever that costs;
*planned* makes the moves that pay for themselves while the load lasts, within a budget of bytes per epoch. What a plan costs is
the running cost of every epoch times its length, and the moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mshare_bench.domain.topology import Topology
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.heuristic import lay_out
from mshare_bench.placement.migration import MigrationCosts
from mshare_bench.placement.problem import Prices, make_problem
from mshare_bench.placement.replan import Change, Held, Step, carry_over, changes_towards, improve_within
from mshare_bench.placement.search import descend

__all__ = ["Epoch", "Migration", "Plan", "Strategy", "compare_strategies", "plan_epochs"]

Strategy = Literal["never", "greedy", "planned"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of time with one load.

    Attributes
    ----------
    seconds
        How long it lasts.
    demands
        What runs; every group occurs once.
    drained
        Pairs of machine and node id that may not be used; what is there has to leave.
    dead
        Machines that are down.
    """

    seconds: float
    demands: tuple[Demand, ...]
    drained: tuple[tuple[int, int], ...] = ()
    dead: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"epochs.seconds={self.seconds}: must be positive")
        names = [one.group for one in self.demands]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"epochs.groups={twice}: occurs twice in an epoch")


@dataclass(frozen=True, slots=True)
class Migration:
    """One row of `migrations.arrow`: what moved, what it took and why; nodes are the kernel's ids, None for several."""

    epoch: int
    group: str
    what: str
    from_machine: int
    from_node: int | None
    to_machine: int
    to_node: int | None
    bytes: int
    cost_ns: float
    break_even_ns: float | None
    advice: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a strategy does and what that costs.

    Attributes
    ----------
    strategy
        Which.
    migrations
        All moves, epoch by epoch.
    assignments
        Where everything is in every epoch.
    running_ns, moving_ns
        Cost of the placements over their time, and of the moves.
    """

    strategy: Strategy
    migrations: tuple[Migration, ...]
    assignments: tuple[Assignment, ...]
    running_ns: float
    moving_ns: float

    @property
    def total_ns(self) -> float:
        """Cost of everything."""
        return self.running_ns + self.moving_ns


def plan_epochs(
    topology: Topology,
    epochs: Sequence[Epoch],
    strategy: Strategy = "planned",
    *,
    budget_bytes: float = float("inf"),
    costs: MigrationCosts | None = None,
    prices: Prices | None = None,
    overcommit: float = 1.0,
) -> Plan:
    """Plan all epochs with one strategy; a later epoch is known when an earlier one is planned.

    Parameters
    ----------
    budget_bytes
        Bytes that may be moved per epoch, beside what must move; for `planned` only.

    Raises
    ------
    PlacementError
        When an epoch has no room; the message names the epoch.
    ConfigError
        For a strategy that does not exist, or no epoch.
    """
    if strategy not in ("never", "greedy", "planned"):
        raise ConfigError(f"strategy={strategy}: must be never, greedy or planned")
    if not epochs:
        raise ConfigError("epochs=[]: nothing to plan")
    costs = costs or MigrationCosts()
    held = Held()
    migrations: list[Migration] = []
    assignments: list[Assignment] = []
    running = moving = 0.0
    for number, epoch in enumerate(epochs):
        closed = [*epoch.drained, *((m, node.id) for m in epoch.dead for node in topology.machine(m).nodes)]
        try:
            problem = make_problem(topology, epoch.demands, overcommit=overcommit, prices=prices, closed=closed)
            step = carry_over(problem, held, costs)
            made = [_row(step, number, change, epoch, forced=True) for change in step.forced]
            if number:
                chosen = _chosen(step, strategy, _horizons(epochs, number), budget_bytes, costs)
            else:  # everything has just arrived: nothing has to be moved for the best place
                descend(step.arrays, step.state)
                chosen = []
            made += [_row(step, number, change, epoch) for change in chosen]
            assignment = lay_out(problem, step.arrays, step.state)
        except PlacementError as error:
            raise PlacementError(f"epoch {number}: {error}") from error
        if assignment is None:
            raise PlacementError(f"epoch {number}: no room for {problem.units} units on {topology.name}")
        assignment = replace(assignment, policy=strategy, tables=strategy)
        running += cost_of(problem, assignment).total * epoch.seconds
        moving += sum(row.cost_ns for row in made)
        migrations.extend(made)
        assignments.append(assignment)
        held = step.held()
    return Plan(strategy, tuple(migrations), tuple(assignments), running, moving)


def compare_strategies(
    topology: Topology,
    epochs: Sequence[Epoch],
    *,
    budget_bytes: float = float("inf"),
    costs: MigrationCosts | None = None,
    prices: Prices | None = None,
    overcommit: float = 1.0,
) -> Mapping[Strategy, Plan]:
    """Plan with every strategy; where not moving turns out cheaper than the planned moves, the plan is not to move."""
    plans: dict[Strategy, Plan] = {}
    strategies: tuple[Strategy, ...] = ("never", "greedy", "planned")
    for strategy in strategies:
        plans[strategy] = plan_epochs(
            topology,
            epochs,
            strategy,
            budget_bytes=budget_bytes,
            costs=costs,
            prices=prices,
            overcommit=overcommit,
        )
    if plans["never"].total_ns < plans["planned"].total_ns:
        plans["planned"] = replace(plans["never"], strategy="planned")
    return plans


def _chosen(
    step: Step, strategy: Strategy, horizon: dict[tuple[str, str], float], budget_bytes: float, costs: MigrationCosts
) -> list[Change]:
    if strategy == "never":
        return []
    if strategy == "planned":
        return improve_within(step, horizon, budget_bytes, costs)
    target = step.state.copy()
    descend(step.arrays, target)
    changes = changes_towards(step, target, costs)
    step.state = target
    return changes


def _horizons(epochs: Sequence[Epoch], number: int) -> dict[tuple[str, str], float]:
    """Tell for how long every group and every domain stays as it is, from this epoch on."""
    now = epochs[number]
    last: dict[tuple[str, str], float] = {}
    same = set(_things(now))
    for epoch in epochs[number:]:
        if (epoch.drained, epoch.dead) != (now.drained, now.dead):
            break
        then = _things(epoch)
        same = {key for key in same if then.get(key) == _things(now)[key]}
        for key in same:
            last[key] = last.get(key, 0.0) + epoch.seconds
    return last


def _things(epoch: Epoch) -> dict[tuple[str, str], object]:
    """Give every group with its demand, and every domain with those of all its groups."""
    things: dict[tuple[str, str], object] = {("group", one.group): one for one in epoch.demands}
    for one in epoch.demands:
        if one.domain is not None:
            things["domain", one.domain] = frozenset(d for d in epoch.demands if d.domain == one.domain)
    return things


def _row(step: Step, number: int, change: Change, epoch: Epoch, forced: bool = False) -> Migration:
    problem = step.problem
    advice, even = "move", change.advice.break_even_ns if change.advice else None
    ends: list[tuple[int, int | None]]
    if change.what == "group":
        ends = [(int(problem.machine_of[node]), problem.node_id(node)) for node in (change.before, change.node)]
    else:
        ends = [(change.copy[1], None), (change.copy[1], None)]
    if forced:
        machine, node = ends[0]
        gone = f"machine {machine} is down" if machine in epoch.dead else f"node {node} of machine {machine} is drained"
        full = change.before not in problem.closed
        reason = f"move: node {node} of machine {machine} has become too small for all" if full else f"move: {gone}"
    else:
        reason = change.advice.reason if change.advice else "move: the best placement of this epoch is there"
        advice = change.advice.action if change.advice else "move"
    (from_machine, from_node), (to_machine, to_node) = ends
    return Migration(
        number,
        change.name,
        change.what,
        from_machine,
        from_node,
        to_machine,
        to_node,
        change.size,
        change.cost.total,
        even,
        advice,
        reason,
    )
