"""Random placement problems, of a size and tightness that one asks for."""

import random
from collections.abc import Sequence

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.heuristic import policy_placements
from mshare_bench.placement.problem import Problem, make_problem

GIB = 1 << 30


def random_machine(rng: random.Random, nodes: int, name: str = "m", odd: bool = True) -> Machine:
    """A machine of nodes in sockets of up to four; `odd` ones may have uneven nodes, memory-only nodes and CPU-only nodes."""
    per_socket = rng.choice([1, 2, 4]) if nodes % 2 == 0 else 1
    cpus, made = 0, []
    for i in range(nodes):
        count = rng.choice([8, 16, 32]) if odd else 16
        memory = rng.choice([32, 64, 128]) * GIB if odd else 64 * GIB
        if odd and i and rng.random() < 0.15:
            count, memory = (0, memory) if rng.random() < 0.7 else (count, 0)
        made.append(Node(i, tuple(range(cpus, cpus + count)), memory, i // per_socket))
        cpus += count
    local, near, far = rng.uniform(75, 110), rng.uniform(1.05, 1.3), rng.uniform(1.4, 2.6)
    rows = []
    for i in range(nodes):
        row: list[float | None] = []
        for j in range(nodes):
            factor = 1.0 if i == j else near if i // per_socket == j // per_socket else far
            row.append(local * factor * (rng.uniform(0.98, 1.02) if odd else 1.0))
        rows.append(tuple(row))
    distances = tuple(tuple(10 if i == j else 20 for j in range(nodes)) for i in range(nodes))
    return Machine(name, tuple(made), distances, tuple(rows))


def random_topology(rng: random.Random, nodes: int, machines: int = 1, odd: bool = True) -> Topology:
    """So many like machines, with so many nodes in all."""
    machine = random_machine(rng, nodes // machines, odd=odd)
    return Topology("random", (MachineCohort(machine, machines),), Network(3.125e9, 30_000) if machines > 1 else None)


def random_demands(
    rng: random.Random, topology: Topology, groups: int, *, cpus: float = 0.7, memory: float = 0.6, traffic: float = 0.0
) -> list[Demand]:
    """So many groups that take about that share of the CPUs and of the memory; about one in five is several like ones."""
    weights = [rng.choice([1, 1, 2, 4]) for _ in range(groups)]
    busy = cpus * topology.cpus / sum(weights)
    biggest = max(len(node.cpus) for node in topology.cohorts[0].machine.nodes)
    domains = max(1, groups // 4)
    per_machine = topology.memory / topology.machines
    shared = [memory * rng.uniform(0.2, 1.0) * 0.5 * topology.memory / domains for _ in range(domains)]
    shared = [min(size, 0.25 * per_machine) for size in shared]
    common = [rng.random() < 0.6 for _ in range(domains)]
    private = memory * 0.5 * topology.memory / groups
    made = []
    for g in range(groups):
        domain = rng.randrange(domains) if rng.random() < 0.8 else None
        processes = rng.choice([1, 4, 16])
        tables = 0 if domain is None else int(shared[domain] / 512)
        own = private * rng.uniform(0.2, 1.8)
        own_tables = own / 512 / processes + (0 if domain is None or common[domain] else tables)
        made.append(
            Demand(
                f"g{g}",
                processes,
                min(busy * weights[g] * rng.uniform(0.8, 1.2), biggest * 0.9),
                int(own),
                int(min(own_tables, 0.02 * per_machine / processes)),
                None if domain is None else f"d{domain}",
                0 if domain is None else int(shared[domain]),
                tables if domain is not None and common[domain] else 0,
                rng.choice([0.0, 1e3, 1e6]),
                10 ** rng.uniform(6, 8.5),
                rng.uniform(0.05, 0.7),
                0.0 if domain is None else rng.uniform(0.2, 0.95),
                _traffic(rng, g, groups, traffic),
            )
        )
    return made


def _traffic(rng: random.Random, g: int, groups: int, chance: float) -> tuple[tuple[str, float], ...]:
    others: Sequence[int] = [other for other in range(groups) if other != g]
    return ((f"g{rng.choice(others)}", 10 ** rng.uniform(6, 8.5)),) if others and rng.random() < chance else ()


def placeable(count: int, groups: int = 10, memory: float = 0.6) -> list[Problem]:
    """The first so many problems on four nodes for which some policy finds room."""
    found: list[Problem] = []
    seed = 0
    while len(found) < count:
        rng = random.Random(seed)
        topology = random_topology(rng, 4, 1 + seed % 2)
        seed += 1
        try:
            problem = make_problem(
                topology, random_demands(rng, topology, groups, cpus=0.5, memory=memory, traffic=0.3)
            )
            if policy_placements(problem):
                found.append(problem)
        except PlacementError:
            continue
    return found
