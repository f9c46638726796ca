"""Machines small enough to reckon by hand: nodes 0, 2, 4, ... of 4 CPUs and 16 GiB each, farther apart by their number."""

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.demand import Demand

__all__ = ["GIB", "five_unlike", "machine", "nodes_of", "topology", "uneven", "units"]

GIB = 1 << 30


def machine(*memory: int, cpus: int = 4) -> Machine:
    nodes = tuple(Node(2 * i, tuple(range(cpus * i, cpus * i + cpus)), size) for i, size in enumerate(memory))
    rows = [[10 + 10 * abs(i - j) for j in range(len(memory))] for i in range(len(memory))]
    return Machine("m", nodes, tuple(map(tuple, rows)))


def topology(machines: int = 1, nodes: int = 2) -> Topology:
    network = Network(1e9, 0) if machines > 1 else None
    return Topology("t", (MachineCohort(machine(*[16 * GIB] * nodes), machines),), network)


def nodes_of(assignment: Assignment) -> list[tuple[int, int]]:
    """Machine and node of every unit."""
    return [(seat.machine, seat.node) for seat in assignment.seats for _ in range(seat.count)]


def units(count: int, **fields: object) -> list[Demand]:
    return [Demand(f"g{i}", **({"cpus": 2.0, "private_bytes": GIB} | fields)) for i in range(count)]  # type: ignore[arg-type]


def five_unlike() -> list[Demand]:
    """Five units that fill half a node each and share nothing; no two are alike."""
    return [Demand(f"g{i}", cpus=2.0, private_bytes=GIB + i) for i in range(5)]


def uneven(machines: int = 1) -> Topology:
    """Nodes 0 and 3 with CPUs and 8 and 4 GiB, node 7 with 4 GiB and no CPU; known latencies."""
    nodes = (Node(0, (0, 1), 8 * GIB), Node(3, (2, 3), 4 * GIB), Node(7, (), 4 * GIB, kind="cxl"))
    latency = ((80.0, 140.0, 200.0), (140.0, 90.0, 260.0), (None, None, None))
    machine = Machine("m", nodes, ((10, 20, 30), (20, 10, 40), (30, 40, 10)), latency)
    return Topology("t", (MachineCohort(machine, machines),), Network(2e9, 64_000) if machines > 1 else None)
