"""One step of a plan: from where everything was to where it is in the next epoch.

First what must move moves (units on nodes that are drained or gone), and what is new finds a place; then, if the strategy wants
it, what had better move. What spills beyond its node is laid out anew in every epoch and not counted as a move: it is the cold
part, and the same for all strategies.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import PlacementError
from mshare_bench.placement.migration import Advice, MigrationCosts, Move, MoveCost, advise, move_cost, replica_cost
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.search import (
    Arrays,
    State,
    choose_patterns,
    descend,
    estimate,
    hold,
    make_arrays,
    relocate,
)

__all__ = ["Change", "Held", "Horizon", "Step", "carry_over", "changes_towards", "improve_within"]

Horizon = Mapping[tuple[str, str], float]
"""Seconds for which a thing stays as it is, by `group` or `domain` and its name."""


@dataclass(frozen=True, slots=True)
class Held:
    """Where everything is at the end of an epoch.

    Attributes
    ----------
    nodes
        By group, the nodes of its units (numbered over all machines).
    patterns
        By (domain, machine), the names of the patterns of its data and tables.
    """

    nodes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    patterns: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One move: of a unit to a node, or of a domain's copy to other patterns.

    Attributes
    ----------
    what
        `group`, `data` or `tables`.
    name
        Group or domain.
    unit, node
        Of a unit: which, and where to (`before`: where from).
    copy, chosen
        Of a copy: which (domain, machine), and the patterns that it gets.
    size, cost
        Bytes that move, and what that takes.
    """

    what: str
    name: str
    cost: MoveCost
    size: int
    unit: int = -1
    before: int = -1
    node: int = -1
    copy: tuple[int, int] = (-1, -1)
    chosen: tuple[int, int] = (-1, -1)
    advice: Advice | None = None


@dataclass
class Step:
    """An epoch being planned: its problem, the state so far, and what had to be done to get there."""

    problem: Problem
    arrays: Arrays
    state: State
    forced: list[Change]
    group_of: tuple[str, ...]

    def held(self) -> Held:
        """Write down where everything is."""
        nodes: dict[str, tuple[int, ...]] = {}
        for group, node in zip(self.group_of, self.state.node, strict=True):
            nodes[group] = (*nodes.get(group, ()), int(node))
        patterns = {}
        for domain, machine in np.argwhere(self.state.chosen[:, :, 0] >= 0):
            data, tables = self.arrays.patterns[machine]
            chosen = self.state.chosen[domain, machine]
            names = data[chosen[0]].name, tables[chosen[1]].name
            patterns[self.problem.domains[domain].name, int(machine)] = names
        return Held(nodes, patterns)


def carry_over(problem: Problem, before: Held, costs: MigrationCosts) -> Step:
    """Begin an epoch where the last one ended; what must move does, what is new is placed as well as the rest allows.

    Raises
    ------
    PlacementError
        When there is no room.
    """
    arrays = make_arrays(problem)
    groups = _groups(problem)
    nodes, fixed = _known_nodes(problem, arrays, groups, before)
    state = _state_of(problem, arrays, nodes, before)
    kept = {
        (int(domain), int(machine))
        for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0)
        if (problem.domains[domain].name, int(machine)) in before.patterns
        and (state.chosen[domain, machine] == _index_of(problem, arrays, before, int(domain), int(machine))).all()
    }
    descend(arrays, state, movable=~fixed, kept=kept)
    if (state.cpu_free < -1e-6).any():
        worst = int(state.cpu_free.argmin())
        raise PlacementError(
            f"node={problem.node_id(worst)}: machine {problem.machine_of[worst]} is left with {-state.cpu_free[worst]:g} CPUs "
            "too few"
        )
    step = Step(problem, arrays, state, [], groups)
    names = {thing.name: d for d, thing in enumerate(problem.domains)}
    copies = {(names[name], machine) for name, machine in before.patterns if name in names}
    left: dict[str, Counter[int]] = {group: Counter(where) for group, where in before.nodes.items()}
    for unit in np.flatnonzero(fixed):
        left[groups[unit]][int(nodes[unit])] -= 1
    for unit in np.flatnonzero(~fixed):
        origin = next(left.get(groups[unit], Counter()).elements(), None)
        if origin is not None:
            left[groups[unit]][origin] -= 1
            step.forced.append(_unit_change(step, copies, int(unit), origin, int(state.node[unit]), costs))
    return step


def changes_towards(step: Step, target: State, costs: MigrationCosts) -> list[Change]:
    """List the moves that lead from the step's state to another one."""
    state = step.state
    copies = _copies(state)
    changes = [
        _unit_change(step, copies, int(unit), int(state.node[unit]), int(target.node[unit]), costs)
        for unit in np.flatnonzero(state.node != target.node)
    ]
    both = (state.chosen[:, :, 0] >= 0) & (target.chosen[:, :, 0] >= 0)
    for domain, machine in np.argwhere(both & (state.chosen != target.chosen).any(axis=2)):
        chosen = (int(target.chosen[domain, machine, 0]), int(target.chosen[domain, machine, 1]))
        changes.extend(_copy_changes(step, int(domain), int(machine), chosen, costs))
    return changes


def improve_within(
    step: Step,
    horizon: Horizon,
    budget_bytes: float,
    costs: MigrationCosts,
) -> list[Change]:
    """Make the moves that pay within their horizon and the budget; give those made."""
    target = step.state.copy()
    descend(step.arrays, target)
    candidates = changes_towards(step, target, costs)
    made: list[Change] = []
    together = _all_at_once(step, target, candidates, horizon, budget_bytes)
    while candidates:
        now = estimate(step.arrays, step.state)
        best: tuple[float, Change, State] | None = None
        for candidate in candidates:
            change = candidate
            if change.what == "group":  # an earlier move may have brought the domain's copy along
                change = _unit_change(step, _copies(step.state), change.unit, change.before, change.node, costs)
            if change.size > budget_bytes:
                continue
            trial = _applied(step, change)
            if trial is None:
                continue
            advice = advise(
                now - estimate(step.arrays, trial), change.cost, horizon.get(_thing(change), 0.0), what=_called(change)
            )
            if advice.action == "move" and (best is None or advice.net_ns > best[0]):
                best = (advice.net_ns, _advised(change, advice), trial)
        if best is None:
            break
        made.append(best[1])
        step.state = best[2]
        budget_bytes -= best[1].size
        candidates = [one for one in candidates if _key(one) != _key(best[1])]
    gained = sum(one.advice.net_ns for one in made if one.advice)
    if together is not None and together[0] > gained:
        step.state = target
        return together[1]
    return made


def _advised(change: Change, advice: Advice) -> Change:
    if change.what == "tables" and change.advice is not None:  # replicas were asked for when the change was found
        advice = Advice(
            "replicate",
            advice.break_even_ns,
            advice.net_ns,
            advice.reason.replace("move: moving", "replicate: replicating", 1),
        )
    return Change(
        change.what,
        change.name,
        change.cost,
        change.size,
        change.unit,
        change.before,
        change.node,
        change.copy,
        change.chosen,
        advice,
    )


def _all_at_once(
    step: Step, target: State, candidates: Sequence[Change], horizon: Horizon, budget_bytes: float
) -> tuple[float, list[Change]] | None:
    """Weigh all moves as one: some pay only together, such as an exchange."""
    if not candidates or sum(one.size for one in candidates) > budget_bytes:
        return None
    saving = estimate(step.arrays, step.state) - estimate(step.arrays, target)
    cost = MoveCost()
    for one in candidates:
        cost = cost.plus(one.cost)
    shortest = min(horizon.get(_thing(one), 0.0) for one in candidates)
    advice = advise(saving, cost, shortest, what=f"{len(candidates)} things together")
    return (advice.net_ns, [_advised(one, advice) for one in candidates]) if advice.action == "move" else None


def _applied(step: Step, change: Change) -> State | None:
    arrays, trial = step.arrays, step.state.copy()
    if change.what == "group":
        if trial.node[change.unit] != change.before or trial.cpu_free[change.node] + 1e-9 < arrays.cpus[change.unit]:
            return None
        relocate(arrays, trial, change.unit, change.node)
        return trial
    domain, machine = change.copy
    if trial.chosen[domain, machine, 0] < 0:
        return None
    hold(arrays, trial, domain, machine, -1.0)
    which = 0 if change.what == "data" else 1
    trial.chosen[domain, machine, which] = change.chosen[which]
    hold(arrays, trial, domain, machine, 1.0)
    return trial


def _called(change: Change) -> str:
    return change.name if change.what == "group" else f"the {change.what} of {change.name}"


def _thing(change: Change) -> tuple[str, str]:
    return ("group" if change.what == "group" else "domain", change.name)


def _key(change: Change) -> tuple[str, int, tuple[int, int]]:
    return (change.what, change.unit, change.copy)


def _groups(problem: Problem) -> tuple[str, ...]:
    return tuple(
        problem.demands[number].group for parts in problem.members for number, units in parts for _ in range(units)
    )


def _known_nodes(
    problem: Problem, arrays: Arrays, groups: Sequence[str], before: Held
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Put every unit where one of its group was, if that is open; the others, for a start, where there is most room."""
    left = {group: list(nodes) for group, nodes in before.nodes.items()}
    nodes = np.full(len(groups), -1)
    free = problem.cpu_room.copy()
    for unit, group in enumerate(groups):
        where = next((node for node in left.get(group, ()) if problem.cpu_room[node]), None)
        if where is not None:
            left[group].remove(where)
            nodes[unit] = where
            free[where] -= arrays.cpus[unit]
    fixed = nodes >= 0
    # A node may have become too full: then those that came last leave it.
    for unit in np.flatnonzero(fixed)[::-1]:
        if free[nodes[unit]] < -1e-9:
            free[nodes[unit]] += arrays.cpus[unit]
            fixed[unit] = False
    for late in sorted(map(int, np.flatnonzero(~fixed)), key=lambda one: -arrays.cpus[one]):
        nodes[late] = int(np.where(problem.cpu_room > 0, free, -np.inf).argmax())
        free[nodes[late]] -= arrays.cpus[late]
    return nodes, fixed


def _state_of(problem: Problem, arrays: Arrays, nodes: NDArray[np.int64], before: Held) -> State:
    cpu_free = np.asarray(problem.cpu_room - np.bincount(nodes, arrays.cpus, len(problem.cpu_room)), np.float64)
    held = np.asarray(np.bincount(arrays.home[arrays.class_of, nodes], arrays.size, len(problem.cpu_room)), np.float64)
    state = State(nodes.copy(), np.full((len(problem.domains), len(problem.kind_of), 2), -1), cpu_free, held)
    machines = problem.machine_of[nodes]
    for domain in range(len(problem.domains)):
        for machine in map(int, np.unique(machines[arrays.domain_of == domain])):
            chosen = _index_of(problem, arrays, before, domain, machine)
            if (chosen >= 0).all():
                state.chosen[domain, machine] = chosen
                hold(arrays, state, domain, machine, 1.0)
            else:
                choose_patterns(arrays, state, domain, machine)
    return state


def _index_of(problem: Problem, arrays: Arrays, before: Held, domain: int, machine: int) -> NDArray[np.int64]:
    """Find the patterns that a copy had; -1 for what was not there or no longer can be."""
    names = before.patterns.get((problem.domains[domain].name, machine))
    found = np.full(2, -1)
    first, last = int(problem.start[machine]), int(problem.start[machine + 1])
    thing = problem.domains[domain]
    for which, size in ((0, thing.data), (1, thing.tables)):
        for j, pattern in enumerate(arrays.patterns[machine][which]):
            open_there = (pattern.share * size <= problem.memory_room[first:last]).all()
            if names is not None and pattern.name == names[which] and open_there:
                found[which] = j
    return found


def _copies(state: State) -> set[tuple[int, int]]:
    return {(int(domain), int(machine)) for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0)}


def _unit_change(
    step: Step, copies: set[tuple[int, int]], unit: int, before: int, node: int, costs: MigrationCosts
) -> Change:
    """Reckon a unit's move; a copy of its domain that is not among `copies` goes with it, and is then."""
    problem, c = step.problem, int(step.arrays.class_of[unit])
    one = problem.classes[c]
    origin, goal = int(problem.machine_of[before]), int(problem.machine_of[node])
    own = one.private_bytes + one.table_bytes
    reads = one.accesses_per_s * (1 - one.shared_share)
    machine = problem.kinds[problem.kind_of[goal]].machine
    if origin == goal:
        size = own if step.arrays.home[c, before] != step.arrays.home[c, node] else 0
        cost = move_cost(Move(size, running_cpus=one.cpus, machine_cpus=machine.cpus, reads_per_s=reads), costs)
        return Change("group", step.group_of[unit], cost, size, unit, before, node)
    domain = problem.domain_of[c]
    new_copy = domain >= 0 and (domain, goal) not in copies
    copies.add((domain, goal))
    size = one.private_bytes + (problem.domains[domain].data if new_copy else 0)
    move = Move(size, running_cpus=one.cpus, network=problem.topology.network, processes=one.processes)
    return Change("group", step.group_of[unit], move_cost(move, costs), size, unit, before, node)


def _copy_changes(
    step: Step, domain: int, machine: int, chosen: tuple[int, int], costs: MigrationCosts
) -> Iterator[Change]:
    problem, arrays, state = step.problem, step.arrays, step.state
    thing = problem.domains[domain]
    here = (arrays.domain_of == domain) & (problem.machine_of[state.node] == machine)
    sharers = max(1, sum(problem.classes[c].processes for c in arrays.class_of[here]))
    cpus = float(arrays.cpus[here].sum())
    machine_cpus = problem.kinds[problem.kind_of[machine]].machine.cpus
    now = [arrays.patterns[machine][which][state.chosen[domain, machine, which]] for which in (0, 1)]
    then = [arrays.patterns[machine][which][chosen[which]] for which in (0, 1)]
    reads = [float(arrays.data_rate[here].sum()), float(arrays.table_rate[here].sum())]
    common = thing.tables > 0
    if chosen[0] != state.chosen[domain, machine, 0]:
        size = round(thing.data * float(np.maximum(then[0].share - now[0].share, 0.0).sum()))
        sets = 1 if common else sharers
        move = Move(
            size,
            sharers=sharers,
            table_sets=sets,
            running_cpus=cpus,
            machine_cpus=machine_cpus,
            flush_all=common,
            replicas=now[1].replicas,
            reads_per_s=reads[0],
        )
        yield Change("data", thing.name, move_cost(move, costs), size, copy=(domain, machine), chosen=(chosen[0], -1))
    if chosen[1] != state.chosen[domain, machine, 1] and common:
        further = max(then[1].replicas - now[1].replicas, 0)
        size = round(thing.tables * float(np.maximum(then[1].share - now[1].share, 0.0).sum()))
        cost = replica_cost(math.ceil(size / max(further, 1)), max(further, 1), costs)
        asked = Advice("replicate", None, 0.0, "") if further else None
        yield Change("tables", thing.name, cost, size, copy=(domain, machine), chosen=(-1, chosen[1]), advice=asked)
