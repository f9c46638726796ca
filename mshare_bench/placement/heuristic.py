"""A good placement quickly: local search from the policies' placements, then from disturbed copies of the best one.

Every candidate is laid out exactly before it counts: what the search only guessed, the spill of private data and own tables,
is a transport problem that is solved to its optimum, so that the cost is the true one and every limit is kept.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.place import assign
from mshare_bench.placement.problem import Problem
from mshare_bench.placement.registry import policies
from mshare_bench.placement.search import Arrays, State, descend, make_arrays, start_state
from mshare_bench.placement.seating import Unit, collect_seats, domain_copy

__all__ = ["improve", "lay_out", "policy_placements"]

_TABLES = ("first_touch", "replicate")
_LARGEST_SEARCH = 4_000_000


def policy_placements(problem: Problem) -> list[Assignment]:
    """What every simple policy makes of the problem, the cheapest first; those that find no room are left out."""
    found: list[tuple[float, int, Assignment]] = []
    for name in policies():
        if name != "optimal":
            for tables in _TABLES:
                try:
                    assignment = assign(problem, name, tables)
                except PlacementError:
                    continue
                found.append((cost_of(problem, assignment).total, len(found), assignment))
    return [assignment for _, _, assignment in sorted(found)]


def improve(problem: Problem, *, restarts: int = 8, seed: int = 0) -> Assignment:
    """Find a good placement.

    Parameters
    ----------
    restarts
        Disturbed copies of the best placement that are searched from, after the policies' own.
    seed
        Of the disturbances.

    Raises
    ------
    PlacementError
        When no policy finds room and no disturbance of their attempts does either.
    """
    starts = policy_placements(problem)
    if problem.units * len(problem.cpu_room) > _LARGEST_SEARCH:
        if not starts:
            raise PlacementError(_no_room(problem))
        return starts[0]
    arrays = make_arrays(problem)
    rng = np.random.default_rng(seed)
    best: tuple[float, Assignment | None] = (np.inf, None)
    if starts:
        best = (cost_of(problem, starts[0]).total, starts[0])
    states: list[tuple[float, State]] = []
    for nodes in (*(_nodes_of(problem, one) for one in _distinct(starts)), _greedy_nodes(arrays, rng)):
        state = start_state(arrays, nodes)
        states.append((descend(arrays, state), state))
    states.sort(key=lambda one: one[0])
    for estimated, state in states[:3]:
        best = min(best, _exact(problem, arrays, state), key=lambda one: one[0])
        current = (estimated, state)
        for _ in range(restarts // min(3, len(states)) + 1):
            trial = _disturb(arrays, current[1], rng)
            cost = descend(arrays, trial)
            if cost < current[0] * (1 - 1e-9):
                current = (cost, trial)
                best = min(best, _exact(problem, arrays, trial), key=lambda one: one[0])
    if best[1] is None:
        raise PlacementError(_no_room(problem))
    return best[1]


def lay_out(problem: Problem, arrays: Arrays, state: State) -> Assignment | None:
    """Write a state as an assignment with the best spill there is; None where CPUs or memory do not suffice."""
    if (state.cpu_free < -1e-6).any():
        return None
    units: list[Unit] = []
    for machine in range(len(problem.kind_of)):
        made = _machine_units(problem, arrays, state, machine)
        if made is None:
            return None
        units.extend(made)
    copies = tuple(
        domain_copy(
            problem,
            int(domain),
            int(machine),
            arrays.patterns[machine][0][state.chosen[domain, machine, 0]],
            arrays.patterns[machine][1][state.chosen[domain, machine, 1]],
        )
        for domain, machine in np.argwhere(state.chosen[:, :, 0] >= 0)
    )
    return Assignment(collect_seats(problem, units), copies, "heuristic", "heuristic")


def _exact(problem: Problem, arrays: Arrays, state: State) -> tuple[float, Assignment | None]:
    assignment = lay_out(problem, arrays, state)
    return (np.inf, None) if assignment is None else (cost_of(problem, assignment).total, assignment)


def _machine_units(problem: Problem, arrays: Arrays, state: State, machine: int) -> list[Unit] | None:
    first, last = int(problem.start[machine]), int(problem.start[machine + 1])
    here = np.flatnonzero(problem.machine_of[state.node] == machine)
    places, counts = np.unique(np.stack([arrays.class_of[here], state.node[here]]), axis=1, return_counts=True)
    pairs = [(int(c), int(node), int(count)) for (c, node), count in zip(places.T, counts, strict=True)]
    room = problem.memory_room[first:last].copy()
    for domain in np.flatnonzero(state.chosen[:, machine, 0] >= 0):
        thing, (data, tables) = problem.domains[domain], arrays.patterns[machine]
        room -= data[state.chosen[domain, machine, 0]].share * thing.data
        room -= tables[state.chosen[domain, machine, 1]].share * thing.tables
    if (room < -0.5).any():
        return None
    streams = []  # bytes, reads per second, node
    for c, node, count in pairs:
        one, rates = problem.classes[c], problem.rates(c)
        streams.append((count * one.private_bytes, count * rates[0], node - first))
        streams.append((count * one.table_bytes, count * rates[1], node - first))
    shares = _transport(streams, np.maximum(room, 0.0), problem.kinds[problem.kind_of[machine]].penalty)
    if shares is None:
        return None
    return [(c, node, n, shares[2 * i], shares[2 * i + 1], False) for i, (c, node, n) in enumerate(pairs)]


def _transport(
    streams: list[tuple[int, float, int]], room: NDArray[np.float64], penalty: NDArray[np.float64]
) -> list[NDArray[np.float64]] | None:
    """Share every stream over the nodes such that reading is cheapest and no node is over its room."""
    held = np.flatnonzero(room > 0)
    if not len(held):
        held = np.arange(len(room))
    best = [int(held[penalty[node, held].argmin()]) for _, _, node in streams]
    alone = [np.eye(len(room))[node] for node in best]
    if (np.bincount(best, [size for size, _, _ in streams], len(room)) <= room + 0.5).all():
        return alone
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    big = [i for i, (size, _, _) in enumerate(streams) if size]
    width = len(held)
    cost = np.concatenate([streams[i][1] * penalty[streams[i][2], held] for i in big])
    rows = np.repeat(np.arange(len(big)), width)
    columns = np.arange(len(big) * width)
    whole = csr_array((np.ones(len(columns)), (rows, columns)))
    sizes = np.repeat([streams[i][0] / 2**30 for i in big], width)
    limits = csr_array((sizes, (np.tile(np.arange(width), len(big)), columns)))
    scale = max(float(cost.max()), 1e-9)
    kept = LinearConstraint(limits, -np.inf, room[held] / 2**30), LinearConstraint(whole, 1.0, 1.0)
    result = milp(cost / scale, bounds=Bounds(0.0, 1.0), constraints=kept)
    if result.x is None:
        return None
    for k, i in enumerate(big):
        share = np.zeros(len(room))
        values = np.maximum(result.x[k * width : (k + 1) * width], 0.0)
        share[held] = np.where(values > 1e-9, values, 0.0) / values[values > 1e-9].sum()
        alone[i] = share
    return alone


def _distinct(assignments: Iterable[Assignment]) -> list[Assignment]:
    """Leave out those that seat all units as one before did."""
    seen, kept = set(), []
    for one in assignments:
        key = tuple(sorted((seat.demand, seat.machine, seat.node, seat.count) for seat in one.seats))
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _nodes_of(problem: Problem, assignment: Assignment) -> NDArray[np.int64]:
    nodes: list[list[int]] = [[] for _ in problem.demands]
    for seat in assignment.seats:
        node = int(problem.start[seat.machine]) + problem.topology.machine(seat.machine).index(seat.node)
        nodes[seat.demand].extend([node] * seat.count)
    return np.array([nodes[number].pop() for parts in problem.members for number, units in parts for _ in range(units)])


def _greedy_nodes(arrays: Arrays, rng: np.random.Generator) -> NDArray[np.int64]:
    """Seat the largest units first, each where most of its domain sits already and there are CPUs; the rest anywhere."""
    problem = arrays.problem
    free = problem.cpu_room.copy()
    nodes = np.zeros(len(arrays.class_of), np.int64)
    near = np.zeros((len(problem.domains) + 1, len(free)))
    for unit in np.argsort(-arrays.cpus + 1e-6 * rng.random(len(arrays.cpus))):
        fits = (free + 1e-9 >= arrays.cpus[unit]) & (problem.cpu_room > 0)
        score = near[arrays.domain_of[unit]] + free / problem.cpu_room.max()
        node = int(np.where(fits if fits.any() else problem.cpu_room > 0, score, -np.inf).argmax())
        nodes[unit] = node
        free[node] -= arrays.cpus[unit]
        if arrays.domain_of[unit] >= 0:
            near[arrays.domain_of[unit], node] += 1.0
    return nodes


def _disturb(arrays: Arrays, state: State, rng: np.random.Generator) -> State:
    """Move a few random units, most often those of one domain, to random nodes with CPUs for them."""
    problem = arrays.problem
    nodes = state.node.copy()
    free = state.cpu_free.copy()
    units = np.arange(len(nodes))
    if len(problem.domains) and rng.random() < 0.7:
        units = np.flatnonzero(arrays.domain_of == rng.integers(len(problem.domains)))
    target = int(rng.choice(np.flatnonzero(problem.cpu_room > 0)))
    for unit in rng.permutation(units)[: max(2, len(nodes) // 10)]:
        fits = np.flatnonzero((free + 1e-9 >= arrays.cpus[unit]) & (problem.cpu_room > 0))
        if len(fits):
            node = target if target in fits else int(rng.choice(fits))
            free[nodes[unit]] += arrays.cpus[unit]
            free[node] -= arrays.cpus[unit]
            nodes[unit] = node
    return start_state(arrays, nodes)


def _no_room(problem: Problem) -> str:
    return f"placement=optimal: no policy finds room for {problem.units} units on {problem.topology.name}"
