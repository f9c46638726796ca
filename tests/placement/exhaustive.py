"""The cheapest placement by trying them all, with none of the code of the optimum: only `cost_of` is shared.

Every unit on every node, every pattern of every copy; what private bytes spill is left to a transport problem of its own, and
only where it has to be: a combination whose cost without any spill is no better than the best is passed over.
"""

from itertools import product

import numpy as np
from scipy.optimize import linprog

from mshare_bench.placement.assignment import Assignment, DomainCopy, Seat
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.problem import Problem


def cheapest(problem: Problem) -> float:
    """Total cost of the cheapest placement, infinite if there is none."""
    units = [number for number, one in enumerate(problem.demands) for _ in range(one.count)]
    places = [node for node in range(len(problem.cpu_room)) if problem.cpu_room[node]]
    seatings = []
    for nodes in product(places, repeat=len(units)):
        load = np.zeros(len(problem.cpu_room))
        for number, node in zip(units, nodes, strict=True):
            load[node] += problem.demands[number].cpus
        if (load <= problem.cpu_room * (1 + 1e-9)).all():
            seatings.append((_least(problem, units, nodes), nodes))
    best = np.inf
    for least, nodes in sorted(seatings):
        if least >= best:
            break
        best = min(best, _cheapest_copies(problem, units, nodes, best))
    return best


def _machine(problem: Problem, node: int) -> tuple[int, int]:
    machine = int(problem.machine_of[node])
    return machine, node - int(problem.start[machine])


def _shapes(problem: Problem, machine: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    memory = np.array([node.memory for node in problem.topology.machine(machine).nodes], float)
    cpus = np.array([len(node.cpus) for node in problem.topology.machine(machine).nodes])
    data = [np.eye(len(memory))[i] for i in range(len(memory)) if memory[i]]
    if len(data) > 1:
        data += [(memory > 0) / (memory > 0).sum(), memory / memory.sum()]
    both = (memory > 0) & (cpus > 0) if ((memory > 0) & (cpus > 0)).any() else memory > 0
    return data, [*data, both.astype(float)] if both.sum() > 1 else data


def _spilled(problem: Problem, units: list[int], nodes: tuple[int, ...]) -> list[tuple[int, int, float, float]]:
    """Per unit: machine, local node, and reads per second of private data and of own tables."""
    rows = []
    for number, node in zip(units, nodes, strict=True):
        one = problem.demands[number]
        walks, data = one.accesses_per_s * one.walk_share, one.accesses_per_s * (1 - one.walk_share)
        own_walks = walks * (1 - one.shared_share) if one.shared_table_bytes else walks
        rows.append((*_machine(problem, node), data * (1 - one.shared_share), own_walks))
    return rows


def _least(problem: Problem, units: list[int], nodes: tuple[int, ...]) -> float:
    """Cost of private reads and of traffic if nothing spilled: no placement with these seats costs less beside shared memory."""
    total = 0.0
    for machine, local, data, walks in _spilled(problem, units, nodes):
        kind = problem.kinds[problem.kind_of[machine]]
        total += (data + walks) * min(kind.penalty[local, j] for j in np.flatnonzero(kind.memory))
    return total + problem.memory_price() * sum(
        one.count * (one.private_bytes + one.table_bytes) for one in problem.demands
    )


def _cheapest_copies(problem: Problem, units: list[int], nodes: tuple[int, ...], best: float) -> float:
    least = _least(problem, units, nodes)
    readers: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for number, node in zip(units, nodes, strict=True):
        domain = problem.demands[number].domain
        if domain is not None:
            machine, local = _machine(problem, node)
            readers.setdefault((domain, machine), []).append((number, local))
    copies = []
    for (domain, machine), who in readers.items():
        one = problem.demands[who[0][0]]
        kind = problem.kinds[problem.kind_of[machine]]
        options = []
        data_shapes, table_shapes = _shapes(problem, machine)
        for data in data_shapes:
            for tables in table_shapes if one.shared_table_bytes else [data]:
                used = data * one.shared_bytes + tables * one.shared_table_bytes
                if (used > kind.memory).any():
                    continue
                cost = problem.memory_price() * used.sum()
                copied = tables.sum() > 1.5
                for number, local in who:
                    reader = problem.demands[number]
                    walks, reads = (
                        reader.accesses_per_s * reader.walk_share,
                        reader.accesses_per_s * (1 - reader.walk_share),
                    )
                    cost += reads * reader.shared_share * (kind.penalty[local] @ data)
                    if one.shared_table_bytes:
                        row = kind.penalty[local]
                        far = row[tables > 0].min() if copied else row @ tables
                        cost += walks * reader.shared_share * far
                        cost += reader.table_updates_per_s * (tables.sum() - 1) * problem.prices.replica_update_ns
                options.append((cost, domain, machine, data, tables, used))
        copies.append(sorted(options, key=lambda option: option[0]))

    def search(depth: int, cost: float, chosen: list[tuple]) -> None:
        nonlocal best
        if cost + sum(rest[0][0] for rest in copies[depth:] if rest) >= best:
            return
        if depth == len(copies):
            best = min(best, _with_spill(problem, units, nodes, chosen))
            return
        for option in copies[depth]:
            search(depth + 1, cost + option[0], [*chosen, option])

    search(0, least, [])
    return best


def _with_spill(problem: Problem, units: list[int], nodes: tuple[int, ...], chosen: list[tuple]) -> float:
    room = problem.memory_room.copy()
    for _, _, machine, _, _, used in chosen:
        room[problem.start[machine] : problem.start[machine + 1]] -= used
    if (room < 0).any():
        return np.inf
    streams, cost, bounds = [], [], []
    rows = _spilled(problem, units, nodes)
    for unit, (number, (machine, local, data, walks)) in enumerate(zip(units, rows, strict=True)):
        one = problem.demands[number]
        for which, (size, reads) in enumerate(((one.private_bytes, data), (one.table_bytes, walks))):
            for j in range(int(problem.start[machine + 1] - problem.start[machine])):
                streams.append((unit, which, machine, j, size))
                cost.append(reads * problem.kinds[problem.kind_of[machine]].penalty[local, j])
                bounds.append((0.0, 1.0 if problem.kinds[problem.kind_of[machine]].memory[j] else 0.0))
    whole = np.zeros((2 * len(units), len(streams)))
    held = np.zeros((len(room), len(streams)))
    for column, (unit, which, machine, j, size) in enumerate(streams):
        whole[2 * unit + which, column] = 1
        held[int(problem.start[machine]) + j, column] = size / 2**30
    scale = max(max(cost), 1.0)
    result = linprog(np.array(cost) / scale, held, room / 2**30, whole, np.ones(len(whole)), bounds)
    if result.status != 0:
        return np.inf
    shares: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for (unit, which, machine, j, _), share in zip(streams, result.x, strict=True):
        if share > 1e-9:
            node_id = problem.topology.machine(machine).nodes[j].id
            shares.setdefault((unit, which), []).append((node_id, float(share)))
    seats = []
    for unit, (number, node) in enumerate(zip(units, nodes, strict=True)):
        machine, local = _machine(problem, node)
        node_id = problem.topology.machine(machine).nodes[local].id
        where = [tuple((n, s / sum(x for _, x in shares[unit, w])) for n, s in shares[unit, w]) for w in (0, 1)]
        seats.append(Seat(number, problem.demands[number].group, 1, machine, node_id, *where))
    copies = []
    for _, domain, machine, data, tables, _ in chosen:
        ids = [node.id for node in problem.topology.machine(machine).nodes]
        spread = [tuple((ids[j], float(v[j])) for j in np.flatnonzero(v)) for v in (data, tables)]
        copies.append(DomainCopy(domain, machine, *spread, replicated=bool(tables.sum() > 1.5)))
    return cost_of(problem, Assignment(tuple(seats), tuple(copies), "exhaustive", "exhaustive")).total
