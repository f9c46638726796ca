"""Local search over placements: the state of a placement as arrays, and what every single change would gain.

A state says on which node every unit sits, and by which patterns each domain's data and tables lie on every machine that has a
copy. Private data and own tables are taken to lie on the node that is fastest for the unit; what does not fit there is priced
by a guess (`_Arrays.spill_price`) during the search and laid out exactly afterwards (`heuristic`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.patterns import Pattern, data_patterns, table_patterns
from mshare_bench.placement.problem import Problem

__all__ = [
    "Arrays",
    "State",
    "choose_patterns",
    "descend",
    "estimate",
    "hold",
    "make_arrays",
    "relocate",
    "start_state",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_MOVES_TRIED = 5
_SWAPS_TRIED = 20
_SLACK = 1e-9
_OVERLOAD = 1e11
"""Price of a CPU more than a node has, in ns per second: dearer than any read, so that no search ends with one."""


@dataclass(frozen=True)
class Arrays:
    """What does not change while searching; `u` counts units, `n` nodes, `m` machines, `d` domains.

    Attributes
    ----------
    class_of, domain_of
        Of every unit.
    cpus, size
        Of every unit; `size` is its private data and own tables.
    home, base
        By unit's class and node: where its private bytes lie if it sits there, and what reading them costs.
    data_rate, table_rate, update
        Of every unit: reads of the domain's data and tables, and cost per further replica.
    patterns
        By machine: the data patterns and the table patterns.
    pair
        Traffic between units, symmetric, in ns per second when apart; None without any.
    spill_price
        Guess of what a byte that does not fit on its node costs.
    """

    problem: Problem
    class_of: Ints
    domain_of: Ints
    cpus: Floats
    size: Floats
    home: Ints
    base: Floats
    data_rate: Floats
    table_rate: Floats
    update: Floats
    patterns: tuple[tuple[tuple[Pattern, ...], tuple[Pattern, ...]], ...]
    pair: Floats | None
    spill_price: float


@dataclass
class State:
    """One placement.

    Attributes
    ----------
    node
        Of every unit.
    chosen
        By (domain, machine): indices of the patterns of data and tables; -1 where there is no copy.
    cpu_free, held
        By node: CPUs left, and bytes that want to lie there.
    """

    node: Ints
    chosen: NDArray[np.int64]
    cpu_free: Floats
    held: Floats

    def copy(self) -> "State":
        """Copy all arrays."""
        return State(self.node.copy(), self.chosen.copy(), self.cpu_free.copy(), self.held.copy())


def make_arrays(problem: Problem) -> Arrays:
    """Prepare a search."""
    count = np.array([one.count for one in problem.classes])
    class_of = np.repeat(np.arange(len(problem.classes)), count)
    nodes = len(problem.cpu_room)
    home = np.zeros((len(problem.classes), nodes), np.int64)
    base = np.zeros((len(problem.classes), nodes))
    rates = np.array([problem.rates(c) for c in range(len(problem.classes))])
    steps = []
    for machine, k in enumerate(problem.kind_of):
        kind, first = problem.kinds[k], int(problem.start[machine])
        held = np.flatnonzero(problem.memory_room[first : int(problem.start[machine + 1])])
        if not len(held):
            continue
        best = held[kind.penalty[:, held].argmin(axis=1)]
        home[:, first : first + len(best)] = first + best
        nearest = kind.penalty[np.arange(len(best)), best]
        base[:, first : first + len(best)] = (rates[:, 0] + rates[:, 1])[:, None] * nearest
        if len(held) > 1:
            steps.append(np.median(np.sort(kind.penalty[:, held], axis=1)[:, 1] - nearest))
    sizes = np.array([float(one.private_bytes + one.table_bytes) for one in problem.classes])
    heat = (rates[:, 0] + rates[:, 1]) / np.maximum(sizes, 1.0)
    spill_price = float(np.median(heat[sizes > 0])) * float(np.median(steps)) if steps and (sizes > 0).any() else 0.0
    # Nothing may look free that takes room from others: at least a thousandth of what the byte itself is worth.
    spill_price = max(spill_price, 1e-3 * problem.memory_price())
    return Arrays(
        problem,
        class_of,
        np.array(problem.domain_of)[class_of],
        np.array([one.cpus for one in problem.classes])[class_of],
        sizes[class_of],
        home,
        base,
        rates[class_of, 2],
        rates[class_of, 3],
        np.array([one.table_updates_per_s for one in problem.classes])[class_of] * problem.prices.replica_update_ns,
        tuple((data_patterns(problem.kinds[k]), table_patterns(problem.kinds[k])) for k in problem.kind_of),
        _pairs(problem, class_of),
        spill_price,
    )


def start_state(arrays: Arrays, node: Ints) -> State:
    """Begin with every unit on a given node, and every copy by the pattern that reads fastest."""
    problem = arrays.problem
    cpu_free = np.asarray(problem.cpu_room - np.bincount(node, arrays.cpus, len(problem.cpu_room)), np.float64)
    held = np.asarray(np.bincount(arrays.home[arrays.class_of, node], arrays.size, len(problem.cpu_room)), np.float64)
    chosen = np.full((len(problem.domains), len(problem.kind_of), 2), -1)
    state = State(node.copy(), chosen, cpu_free, held)
    machines = problem.machine_of[node]
    for domain in range(len(problem.domains)):
        for machine in np.unique(machines[arrays.domain_of == domain]):
            choose_patterns(arrays, state, domain, int(machine))
    return state


def descend(
    arrays: Arrays,
    state: State,
    movable: NDArray[np.bool_] | None = None,
    kept: Collection[tuple[int, int]] = (),
    most: int = 10_000,
) -> float:
    """Improve a state by single moves, swaps and changes of patterns until none of them gains; gives its estimated cost.

    With `movable`, only these units move, and none is swapped; copies (domain, machine) in `kept` keep their patterns.
    """
    for _ in range(most):
        if _move(arrays, state, movable) or _repattern(arrays, state, kept):
            continue
        if movable is not None or not _swap(arrays, state):
            break
    return estimate(arrays, state)


def estimate(arrays: Arrays, state: State) -> float:
    """Cost of a state in ns per second: exact but for what does not fit, which `spill_price` stands for."""
    costs = _unit_costs(arrays, state)
    total = float(costs[np.arange(len(state.node)), state.node].sum())
    problem = arrays.problem
    price = problem.memory_price()
    for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0):
        thing, tables = problem.domains[domain], arrays.patterns[machine][1]
        replicas = tables[state.chosen[domain, machine, 1]].replicas
        total += price * (thing.data + thing.tables * replicas)
    total += float(_overflow(arrays, state.held))
    total += _OVERLOAD * float(np.maximum(-state.cpu_free - _SLACK, 0.0).sum())
    if arrays.pair is not None:
        machines = problem.machine_of[state.node]
        total += float((arrays.pair * (machines[:, None] != machines[None, :])).sum()) / 2
    return total


def _pairs(problem: Problem, class_of: Ints) -> Floats | None:
    if not problem.traffic or len(problem.kind_of) < 2:
        return None
    first = np.searchsorted(class_of, np.arange(len(problem.classes)))
    pair = np.zeros((len(class_of), len(class_of)))
    price = problem.traffic_price()
    for c, far, volume in problem.traffic:
        units = slice(int(first[c]), int(first[c]) + problem.classes[c].count)
        pair[units, first[far]] += volume * price
        pair[first[far], units] += volume * price
    return pair


def _overflow(arrays: Arrays, held: Floats) -> Floats:
    over: Floats = np.maximum(held - arrays.problem.memory_room, 0.0)
    machines = np.add.reduceat(held, arrays.problem.start[:-1])
    room = np.add.reduceat(arrays.problem.memory_room, arrays.problem.start[:-1])
    # What does not fit on the machine at all must go: dearer than any read.
    hopeless = np.maximum(machines - room, 0.0).sum() * 1e3 * arrays.problem.memory_price()
    return np.asarray(over.sum() * arrays.spill_price + hopeless)


def _penalties(arrays: Arrays, state: State, which: int) -> Floats:
    """By domain and node: ns over the fastest load of reading the domain's data (0) or tables (1); the best where no copy is."""
    problem = arrays.problem
    result = np.zeros((len(problem.domains), len(problem.cpu_room)))
    for machine, patterns in enumerate(arrays.patterns):
        table = np.array([pattern.penalty for pattern in patterns[which]])
        best = table.min(axis=0)
        rows = state.chosen[:, machine, which]
        result[:, problem.start[machine] : problem.start[machine + 1]] = np.where(rows[:, None] >= 0, table[rows], best)
    return result


def _replicas(arrays: Arrays, state: State) -> Floats:
    problem = arrays.problem
    result = np.zeros((len(problem.domains), len(problem.cpu_room)))
    for machine, (_, tables) in enumerate(arrays.patterns):
        extra = np.array([pattern.replicas - 1.0 for pattern in tables])
        rows = state.chosen[:, machine, 1]
        value = np.where(rows >= 0, extra[rows], 0.0)
        result[:, problem.start[machine] : problem.start[machine + 1]] = value[:, None]
    return result


def _unit_costs(arrays: Arrays, state: State) -> Floats:
    """By unit and node: what the unit's reads cost if it sat there, with the patterns as they are."""
    costs = arrays.base[arrays.class_of]
    shared = arrays.domain_of >= 0
    if shared.any():
        domain = arrays.domain_of[shared]
        costs[shared] += arrays.data_rate[shared, None] * _penalties(arrays, state, 0)[domain]
        costs[shared] += arrays.table_rate[shared, None] * _penalties(arrays, state, 1)[domain]
        costs[shared] += arrays.update[shared, None] * _replicas(arrays, state)[domain]
    return costs


def _moving_costs(arrays: Arrays, state: State) -> Floats:
    """`_unit_costs`, and traffic and copies: what changes when one unit moves and nothing else does."""
    problem = arrays.problem
    costs = _unit_costs(arrays, state)
    machines = problem.machine_of[state.node]
    if arrays.pair is not None:
        there = arrays.pair @ (machines[:, None] == np.arange(len(problem.kind_of)))
        costs += (arrays.pair.sum(axis=1)[:, None] - there)[:, problem.machine_of]
    if len(problem.kind_of) > 1 and len(problem.domains):
        price = problem.memory_price()
        sizes = np.array([price * (thing.data + thing.tables) for thing in problem.domains])
        shared = arrays.domain_of >= 0
        flat = arrays.domain_of[shared] * len(problem.kind_of) + machines[shared]
        units = np.bincount(flat, minlength=len(problem.domains) * len(problem.kind_of)).astype(float)
        units = units.reshape(len(problem.domains), len(problem.kind_of))
        others = units[arrays.domain_of]
        others[np.arange(len(machines)), machines] -= 1.0
        costs += np.where((others < 0.5) & shared[:, None], sizes[arrays.domain_of][:, None], 0.0)[
            :, problem.machine_of
        ]
    return costs


def _memory_change(arrays: Arrays, state: State) -> Floats:
    """By unit and node: change of the estimate's overflow when the unit's private bytes move there."""
    room = arrays.problem.memory_room
    now = arrays.home[arrays.class_of, state.node]
    there = arrays.home[arrays.class_of]
    size = arrays.size
    freed = np.maximum(state.held - room, 0.0)[now] - np.maximum(state.held[now] - size - room[now], 0.0)
    taken = np.maximum(state.held[there] + size[:, None] - room[there], 0.0) - np.maximum(state.held - room, 0.0)[there]
    change = np.where(there == now[:, None], 0.0, taken - freed[:, None]) * arrays.spill_price
    starts = arrays.problem.start[:-1]
    left = np.add.reduceat(room - state.held, starts)[arrays.problem.machine_of]
    moving = arrays.problem.machine_of[None, :] != arrays.problem.machine_of[state.node][:, None]
    need = size[:, None] + _new_copies(arrays, state)
    hopeless = 1e3 * arrays.problem.memory_price() * np.maximum(need - np.maximum(left, 0.0)[None, :], 0.0)
    return np.asarray(change + np.where(moving, hopeless, 0.0))


def _new_copies(arrays: Arrays, state: State) -> Floats:
    sizes = np.array([float(thing.data + thing.tables) for thing in arrays.problem.domains] + [0.0])
    missing = np.vstack([state.chosen[:, :, 0] < 0, np.zeros((1, state.chosen.shape[1]), bool)])
    return np.asarray((missing * sizes[:, None])[arrays.domain_of][:, arrays.problem.machine_of])


def relocate(arrays: Arrays, state: State, unit: int, node: int) -> None:
    """Move a unit; copies of its domain are made and given up as needed."""
    c, before = int(arrays.class_of[unit]), int(state.node[unit])
    state.node[unit] = node
    state.cpu_free[before] += arrays.cpus[unit]
    state.cpu_free[node] -= arrays.cpus[unit]
    state.held[arrays.home[c, before]] -= arrays.size[unit]
    state.held[arrays.home[c, node]] += arrays.size[unit]
    domain, machine_of = int(arrays.domain_of[unit]), arrays.problem.machine_of
    if domain >= 0 and machine_of[before] != machine_of[node]:
        if state.chosen[domain, machine_of[node], 0] < 0:
            choose_patterns(arrays, state, domain, int(machine_of[node]))
        if not ((arrays.domain_of == domain) & (machine_of[state.node] == machine_of[before])).any():
            hold(arrays, state, domain, int(machine_of[before]), -1.0)
            state.chosen[domain, machine_of[before]] = -1


def _move(arrays: Arrays, state: State, movable: NDArray[np.bool_] | None = None) -> bool:
    costs = _moving_costs(arrays, state)
    now = costs[np.arange(len(state.node)), state.node]
    relief = np.minimum(np.maximum(-state.cpu_free - _SLACK, 0.0)[state.node], arrays.cpus) * _OVERLOAD
    change = costs - (now + relief)[:, None] + _memory_change(arrays, state)
    fits = (state.cpu_free[None, :] + _SLACK >= arrays.cpus[:, None]) & (arrays.problem.cpu_room > 0)[None, :]
    change[~fits] = np.inf
    change[np.arange(len(state.node)), state.node] = np.inf
    if movable is not None:
        change[~movable] = np.inf
    before = estimate(arrays, state)
    return _first_gain(arrays, state, change, before, lambda trial, u, n: relocate(arrays, trial, u, n), _MOVES_TRIED)


def _swap(arrays: Arrays, state: State) -> bool:
    costs = _moving_costs(arrays, state)
    units = np.arange(len(state.node))
    now = costs[units, state.node]
    gain = costs[:, state.node] - now[:, None]
    change = gain + gain.T
    if arrays.pair is not None:
        machines = arrays.problem.machine_of[state.node]
        change += 2 * arrays.pair * (machines[:, None] != machines[None, :])
    room = state.cpu_free[state.node] + arrays.cpus + _SLACK
    fits = (room[:, None] >= arrays.cpus[None, :]) & (room[None, :] >= arrays.cpus[:, None])
    change[~fits | (state.node[:, None] == state.node[None, :])] = np.inf
    change[np.tril_indices(len(units))] = np.inf

    def exchange(trial: State, one: int, other: int) -> None:
        a, b = int(trial.node[one]), int(trial.node[other])
        relocate(arrays, trial, one, b)
        relocate(arrays, trial, other, a)

    return _first_gain(arrays, state, change, estimate(arrays, state), exchange, _SWAPS_TRIED)


def _first_gain(
    arrays: Arrays,
    state: State,
    change: Floats,
    before: float,
    apply: Callable[[State, int, int], None],
    tries: int,
) -> bool:
    """Make the change that promises most and keeps its promise, out of the first few; False when none does."""
    tries = min(tries, change.size)
    order = np.argpartition(change, tries - 1, axis=None)[:tries]
    for flat in order[np.argsort(change.flat[order])]:
        one, other = np.unravel_index(int(flat), change.shape)
        if change[one, other] >= -1e-9 * max(1.0, before):
            return False
        trial = state.copy()
        apply(trial, int(one), int(other))
        if estimate(arrays, trial) < before * (1 - 1e-9):
            state.node, state.chosen, state.cpu_free, state.held = trial.node, trial.chosen, trial.cpu_free, trial.held
            return True
    return False


def hold(arrays: Arrays, state: State, domain: int, machine: int, sign: float) -> None:
    """Add a copy's bytes to what its nodes hold, times `sign`."""
    thing = arrays.problem.domains[domain]
    data, tables = arrays.patterns[machine]
    first, last = arrays.problem.start[machine], arrays.problem.start[machine + 1]
    row = state.chosen[domain, machine]
    state.held[first:last] += sign * (data[row[0]].share * thing.data + tables[row[1]].share * thing.tables)


def choose_patterns(arrays: Arrays, state: State, domain: int, machine: int) -> bool:
    """Choose the cheapest patterns for a copy, given who reads it; True when that changed."""
    problem = arrays.problem
    thing, room = problem.domains[domain], problem.memory_room
    first, last = int(problem.start[machine]), int(problem.start[machine + 1])
    before = state.chosen[domain, machine].copy()
    if before[0] >= 0:
        hold(arrays, state, domain, machine, -1.0)
    readers = (arrays.domain_of == domain) & (problem.machine_of[state.node] == machine)
    local = state.node[readers] - first
    price = problem.memory_price()
    picked = []
    held = state.held[first:last].copy()
    weights = (arrays.data_rate[readers], arrays.table_rate[readers])
    for which, size in ((0, thing.data), (1, thing.tables)):
        reads = np.bincount(local, weights[which], last - first)
        costs = []
        for pattern in arrays.patterns[machine][which]:
            over = np.maximum(held + pattern.share * size - room[first:last], 0.0).sum()
            over -= np.maximum(held - room[first:last], 0.0).sum()
            cost = float(reads @ pattern.penalty) + over * arrays.spill_price
            if (pattern.share * size > room[first:last]).any():
                cost = np.inf
            if which:
                cost += (pattern.replicas - 1) * (price * size + float(arrays.update[readers].sum()))
            costs.append(cost)
        best = int(np.argmin(costs))
        if before[which] >= 0 and costs[best] >= costs[before[which]] - 1e-9 * abs(costs[best]):
            best = int(before[which])
        held = held + arrays.patterns[machine][which][best].share * size
        picked.append(best)
    state.chosen[domain, machine] = picked
    hold(arrays, state, domain, machine, 1.0)
    return bool(before[0] >= 0 and (before != picked).any())


def _repattern(arrays: Arrays, state: State, kept: Collection[tuple[int, int]] = ()) -> bool:
    changed = False
    for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0):
        if (int(domain), int(machine)) not in kept:
            changed |= choose_patterns(arrays, state, int(domain), int(machine))
    return changed
