"""Seats units one after the other, as a kernel would: CPUs, then the domain's copy, then private data and page tables.

What every simple policy shares: it only chooses the node and says how data is laid out. Memory that a node can't hold spills
to the nearest that can, as the kernel's zone lists do; shared data and common tables follow a pattern (see `patterns`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.units import format_size
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment, DomainCopy, Seat, Shares
from mshare_bench.placement.patterns import Pattern, data_patterns, table_patterns
from mshare_bench.placement.problem import MachineKind, Problem
from mshare_bench.placement.registry import TableLayout, TablePolicy, Walkers

__all__ = [
    "Choose",
    "DataLayout",
    "Occupancy",
    "Unit",
    "collect_seats",
    "domain_copy",
    "idlest",
    "seat_in_order",
    "shares_of",
]

Floats = NDArray[np.float64]
Unit = tuple[int, int, int, Floats, Floats, bool]
"""A class, the node that it sits on, how many units, shares of their private data and of their tables, and if replicated."""

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class DataLayout:
    """How a policy lays out data.

    Attributes
    ----------
    interleave_private, interleave_shared
        Evenly over the machine's nodes, instead of where the first process touches.
    nodes
        The only nodes that may hold any memory (indices over all machines); None for no limit. Then nothing spills beyond.
    """

    interleave_private: bool = False
    interleave_shared: bool = False
    nodes: frozenset[int] | None = None


@dataclass(slots=True)
class _Copy:
    toucher: int
    data: Pattern
    tables: Pattern
    reads: Floats


class Occupancy:
    """What is taken of every node while units are being seated.

    Attributes
    ----------
    problem
        The problem.
    cpu_free, memory_free
        CPUs and bytes left on every node.
    homes
        Node of the first unit of each (domain, machine).
    """

    def __init__(self, problem: Problem, tables: TablePolicy, layout: DataLayout) -> None:
        self.problem = problem
        self.cpu_free = problem.cpu_room.copy()
        self.memory_free = problem.memory_room.copy()
        if layout.nodes is not None:
            outside = np.ones(len(self.memory_free), bool)
            outside[list(layout.nodes)] = False
            self.memory_free[outside] = 0.0
        self.homes: dict[tuple[int, int], int] = {}
        self._machine_free = np.add.reduceat(self.memory_free, problem.start[:-1])
        self._has_copy = np.zeros((len(problem.domains), len(problem.kind_of)), bool)
        self._tables = tables
        self._layout = layout
        self._copies: dict[tuple[int, int], _Copy] = {}
        self._seats: list[Unit] = []

    def open_nodes(self, c: int) -> NDArray[np.bool_]:
        """Tell which nodes have the CPUs that a unit of class `c` needs, on machines with memory for it."""
        one, problem = self.problem.classes[c], self.problem
        domain = problem.domain_of[c]
        own = float(one.private_bytes + one.table_bytes)
        need: Floats | float = own
        if domain >= 0:
            shared = problem.domains[domain].data + problem.domains[domain].tables
            need = np.where(self._has_copy[domain], own, own + shared)
        fits: NDArray[np.bool_] = (need <= self._machine_free + _SLACK)[problem.machine_of]
        return fits & (self.cpu_free + _SLACK >= one.cpus) & (problem.cpu_room > 0)

    def seat(self, c: int, node: int) -> bool:
        """Seat one unit of class `c` on a node; False, with nothing changed, when its memory finds no room there."""
        problem = self.problem
        machine = int(problem.machine_of[node])
        first, last = int(problem.start[machine]), int(problem.start[machine + 1])
        kind, local = problem.kinds[problem.kind_of[machine]], node - first
        free = self.memory_free[first:last]
        before = free.copy()
        domain = problem.domain_of[c]
        copy = self._copies.get((domain, machine))
        if domain >= 0 and copy is None:
            copy = self._make_copy(domain, kind, local, free)
            if copy is None:
                return False
        parts = self._private(c, kind, local, free)
        if parts is None:
            free[:] = before
            return False
        if copy is not None:
            self._copies[domain, machine] = copy
            self._has_copy[domain, machine] = True
            self.homes.setdefault((domain, machine), node)
            copy.reads[local] += problem.rates(c)[3]
        self.cpu_free[node] -= problem.classes[c].cpus
        self._machine_free[machine] = free.sum()
        self._seats.append((c, node, 1, *parts))
        return True

    def assignment(self, policy: str, tables: str) -> Assignment:
        """Give the outcome; common tables move once more to where their policy wants them now that all walkers are known."""
        copies = []
        for (domain, machine), copy in self._copies.items():
            kind = self.problem.kinds[self.problem.kind_of[machine]]
            free = self.memory_free[self.problem.start[machine] : self.problem.start[machine + 1]]
            size = self.problem.domains[domain].tables
            free += copy.tables.share * size
            wish = self._tables(Walkers(kind, copy.toucher, copy.reads))
            pattern = _first_fitting(_table_wishes(kind, wish), size, free) or copy.tables
            free -= pattern.share * size
            copies.append(domain_copy(self.problem, domain, machine, copy.data, pattern))
        return Assignment(collect_seats(self.problem, self._seats), tuple(copies), policy, tables)

    def _make_copy(self, domain: int, kind: MachineKind, local: int, free: Floats) -> _Copy | None:
        thing = self.problem.domains[domain]
        wishes = _data_wishes(kind, local, self._layout.interleave_shared)
        data = _first_fitting(wishes, thing.data, free)
        if data is None:
            return None
        free -= data.share * thing.data
        reads = np.zeros(len(free))
        layout = self._tables(Walkers(kind, local, np.eye(len(free))[local]))
        tables = _first_fitting(_table_wishes(kind, layout), thing.tables, free)
        if tables is None:
            free += data.share * thing.data
            return None
        free -= tables.share * thing.tables
        return _Copy(local, data, tables, reads)

    def _private(self, c: int, kind: MachineKind, local: int, free: Floats) -> tuple[Floats, Floats, bool] | None:
        one = self.problem.classes[c]
        order = kind.order[local]
        layout = self._tables(Walkers(kind, local, np.eye(len(free))[local]))
        replicas = list(kind.replicas)
        replicate = layout.replicate and len(replicas) > 1 and bool((free[replicas] >= one.table_bytes).all())
        if replicate:
            tables = np.zeros(len(free))
            tables[replicas] = one.table_bytes
        else:
            prefer = local if layout.prefer is None else layout.prefer
            wanted = layout.interleave
            tables = (
                _level(order, one.table_bytes, free) if wanted else _spill(kind.order[prefer], one.table_bytes, free)
            )
        free -= tables
        data = (
            _level(order, one.private_bytes, free)
            if self._layout.interleave_private
            else _spill(order, one.private_bytes, free)
        )
        free -= data
        if data.sum() + 0.5 < one.private_bytes or tables.sum() + 0.5 < one.table_bytes:
            return None
        return (
            _normal(data, order),
            tables / one.table_bytes if replicate and one.table_bytes else _normal(tables, order),
            replicate,
        )


Choose = Callable[[Occupancy, int, NDArray[np.bool_]], int]
"""Chooses a node for one unit of a class among those that are open to it; -1 for none of them."""


def idlest(occupancy: Occupancy, c: int, allowed: NDArray[np.bool_]) -> int:
    """Choose the node with the largest share of idle CPUs, the first of them."""
    del c
    room = occupancy.problem.cpu_room
    idle = np.where(allowed, occupancy.cpu_free / np.maximum(room, 1e-12), -1.0)
    return int(idle.argmax())


def seat_in_order(
    problem: Problem,
    tables: TablePolicy,
    choose: Choose,
    layout: DataLayout | None = None,
    names: tuple[str, str] = ("", ""),
) -> Assignment:
    """Seat every unit, class after class in the order of the demands, where `choose` says.

    Raises
    ------
    PlacementError
        When a unit finds no node with the CPUs and the memory that it needs.
    """
    occupancy = Occupancy(problem, tables, layout or DataLayout())
    for c, one in enumerate(problem.classes):
        for unit in range(one.count):
            allowed = occupancy.open_nodes(c)
            while allowed.any():
                node = choose(occupancy, c, allowed)
                if node >= 0 and occupancy.seat(c, node):
                    break
                allowed[node if node >= 0 else slice(None)] = False
            else:
                raise PlacementError(_no_room(problem, occupancy, c, unit, names[0]))
    return occupancy.assignment(*names)


def shares_of(problem: Problem, machine: int, share: Floats) -> Shares:
    """Write a share per node as pairs of the kernel's node ids and shares, without the empty ones."""
    nodes = problem.kinds[problem.kind_of[machine]].machine.nodes
    return tuple((nodes[i].id, float(share[i])) for i in np.flatnonzero(share > 1e-12))


def collect_seats(problem: Problem, units: Iterable[Unit]) -> tuple[Seat, ...]:
    """Name the groups again that classes were made of, and count like seats."""
    seats: dict[Seat, int] = {}
    left = [[list(part) for part in parts] for parts in problem.members]
    for c, node, count, data, tables, replicated in units:
        machine = int(problem.machine_of[node])
        where = shares_of(problem, machine, data), shares_of(problem, machine, tables)
        while count:
            number, rest = left[c][0]
            part = min(count, rest)
            group = problem.demands[number].group
            seat = Seat(number, group, 1, machine, problem.node_id(node), *where, replicated)
            seats[seat] = seats.get(seat, 0) + part
            count -= part
            left[c][0][1] -= part
            if not left[c][0][1]:
                left[c].pop(0)
    return tuple(replace(seat, count=count) for seat, count in seats.items())


def domain_copy(problem: Problem, domain: int, machine: int, data: Pattern, tables: Pattern) -> DomainCopy:
    """Write a domain's copy on a machine from the patterns of its data and tables."""
    return DomainCopy(
        problem.domains[domain].name,
        machine,
        shares_of(problem, machine, data.share),
        shares_of(problem, machine, tables.share),
        tables.replicas > 1,
    )


def _data_wishes(kind: MachineKind, local: int, interleave: bool) -> list[Pattern]:
    patterns = {pattern.name: pattern for pattern in data_patterns(kind)}
    near = [patterns[f"node {kind.machine.nodes[n].id}"] for n in kind.order[local]]
    spread = [patterns[name] for name in ("interleave", "weighted") if name in patterns]
    return spread + near if interleave else near + spread


def _table_wishes(kind: MachineKind, layout: TableLayout) -> list[Pattern]:
    wishes = _data_wishes(kind, layout.prefer if layout.prefer is not None else 0, layout.interleave)
    last = table_patterns(kind)[-1]
    return [last, *wishes] if layout.replicate and last.name == "replicate" else wishes


def _first_fitting(wishes: Sequence[Pattern], size: float, free: Floats) -> Pattern | None:
    return next((one for one in wishes if (one.share * size <= free * (1 + _SLACK) + 0.5).all()), None)


def _spill(order: Sequence[int], size: float, free: Floats) -> Floats:
    taken = np.zeros(len(free))
    for node in order:
        if size <= 0:
            break
        taken[node] = min(size, max(free[node], 0.0))
        size -= taken[node]
    return taken


def _level(nodes: Sequence[int], size: float, free: Floats) -> Floats:
    """Give every node the same, or all it has; what is left over goes evenly to the others."""
    taken = np.zeros(len(free))
    rest = sorted(nodes, key=lambda node: free[node])
    for i, node in enumerate(rest):
        taken[node] = min(size / (len(rest) - i), max(free[node], 0.0))
        size -= taken[node]
    return taken


def _normal(amount: Floats, order: Sequence[int]) -> Floats:
    total = float(amount.sum())
    if total > 0:
        return np.asarray(amount / total, np.float64)
    whole = np.zeros(len(amount))
    whole[order[0]] = 1.0
    return whole


def _no_room(problem: Problem, occupancy: Occupancy, c: int, unit: int, policy: str) -> str:
    one = problem.classes[c]
    size = format_size(one.private_bytes + one.table_bytes)
    return (
        f"placement={policy}: no room for unit {unit + 1} of {one.count} of {one.group} ({one.cpus:g} CPUs and {size} besides "
        f"shared memory); most that a node has left: {occupancy.cpu_free.max():g} CPUs, "
        f"{format_size(occupancy.memory_free.max())}"
    )
