"""A fleet over a day: groups arrive and leave, machines fill and empty, with shared page tables and without.

Machines in the same condition (kind, and how many groups of each tenant they run) are one cohort and are counted; every figure
is nevertheless what a count of single machines and single events gives, since which of like machines takes part does not matter.
A group goes to the machine that runs something already, has room, and would have the least memory left; to an empty machine only
when there is none. From time to time the machines with the least in use are emptied, if all their groups fit elsewhere.
"""

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mshare_bench.domain.topology import Topology
from mshare_bench.errors import ConfigError
from mshare_bench.placement.migration import MigrationCosts, Move, move_cost

__all__ = ["FleetRun", "FleetSaving", "Slot", "Tenant", "compare_fleet", "group_bytes", "make_day", "run_fleet"]

State = tuple[int, ...]
"""Condition of a machine: its kind, then how many groups of each tenant it runs."""

_DAY = 24.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """A kind of group that comes and goes.

    Attributes
    ----------
    processes, cpus
        Of one group.
    private_bytes
        Data of one group that is not shared, with the page tables that every process has for it.
    shared_bytes, shared_table_bytes
        Its shared region, and the tables of one process for it; one set for all where tables are shared.
    peak
        Groups at the busiest hour.
    lifetime_hours
        Mean life of a group.
    night
        Groups at the quietest hour, over `peak`.
    busiest_hour
        Hour of the day, 0 to 24.
    """

    name: str
    processes: int
    cpus: float
    private_bytes: int
    shared_bytes: int
    shared_table_bytes: int
    peak: float
    lifetime_hours: float = 4.0
    night: float = 0.5
    busiest_hour: float = 14.0

    def __post_init__(self) -> None:
        for key in ("processes", "cpus", "lifetime_hours"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"tenants.{self.name}.{key}={getattr(self, key)}: must be positive")
        for key in ("private_bytes", "shared_bytes", "shared_table_bytes", "peak"):
            if getattr(self, key) < 0:
                raise ConfigError(f"tenants.{self.name}.{key}={getattr(self, key)}: must not be negative")
        if not 0 <= self.night <= 1:
            raise ConfigError(f"tenants.{self.name}.night={self.night}: must be between 0 and 1")

    def expected(self, hour: float) -> float:
        """Groups at that hour on average: a cosine between the quietest and the busiest."""
        wave = (1 + math.cos(2 * math.pi * (hour - self.busiest_hour) / _DAY)) / 2
        return self.peak * (self.night + (1 - self.night) * wave)


@dataclass(frozen=True, slots=True)
class Slot:
    """What happens in one stretch of the day, by tenant; first groups leave, then groups arrive.

    Attributes
    ----------
    departures
        One number in [0, 1) for each group that leaves: which of those that are left at that moment, in the order of `_order`.
    arrivals
        Groups that arrive.
    """

    departures: tuple[tuple[float, ...], ...]
    arrivals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FleetRun:
    """A day of a fleet; every tuple has one figure per slot, taken at its end.

    Attributes
    ----------
    shared_tables
        Whether page tables were shared.
    machines
        Machines that run something.
    memory, tables
        Bytes in use, and those of them that are page tables of shared regions.
    groups
        Groups that run.
    moves, moved_bytes
        Groups moved to empty machines, and their bytes.
    rejected
        Groups that found no room.
    by_tenant
        Groups that run, by tenant.
    slot_ns
        What the moves of the slot took.
    """

    shared_tables: bool
    machines: tuple[int, ...]
    memory: tuple[int, ...]
    tables: tuple[int, ...]
    groups: tuple[int, ...]
    moves: tuple[int, ...]
    moved_bytes: tuple[int, ...]
    rejected: tuple[int, ...]
    by_tenant: tuple[tuple[int, ...], ...]
    slot_ns: tuple[float, ...]

    @property
    def move_ns(self) -> float:
        """What all moves of the day took."""
        return sum(self.slot_ns)


@dataclass(frozen=True, slots=True)
class FleetSaving:
    """What sharing page tables saves a fleet.

    Attributes
    ----------
    memory
        Bytes, on average over the day; where either run rejected groups this compares unlike loads.
    peak_machines, machine_hours
        Machines less at the busiest moment, and hours of a machine less over the day.
    moves
        Moves less.
    rejected
        Groups less that found no room.
    """

    memory: float
    peak_machines: int
    machine_hours: float
    moves: int
    rejected: int


def group_bytes(tenant: Tenant, shared_tables: bool) -> tuple[int, int]:
    """Bytes that a group takes in all, and those of them that are page tables of its shared region."""
    tables = tenant.shared_table_bytes * (1 if shared_tables else tenant.processes)
    return tenant.private_bytes + tenant.shared_bytes + tables, tables


def make_day(tenants: Sequence[Tenant], *, slots: int = 288, seed: int = 0) -> tuple[Slot, ...]:
    """Draw the arrivals and departures of a day; the first slot begins with what runs at midnight."""
    if slots < 1:
        raise ConfigError(f"slots={slots}: must be at least 1")
    rng = np.random.default_rng(seed)
    hours = _DAY / slots
    there = [0] * len(tenants)
    day = []
    for number in range(slots):
        departures, arrivals = [], []
        for k, tenant in enumerate(tenants):
            leaving = int(rng.binomial(there[k], 1 - math.exp(-hours / tenant.lifetime_hours)))
            departures.append(tuple(rng.random(leaving).tolist()))
            missing = tenant.expected(number * hours) - (there[k] - leaving)
            coming = round(missing) if number == 0 else int(rng.poisson(max(missing, 0.0)))
            arrivals.append(coming)
            there[k] += coming - leaving
        day.append(Slot(tuple(departures), tuple(arrivals)))
    return tuple(day)


def run_fleet(
    topology: Topology,
    tenants: Sequence[Tenant],
    day: Sequence[Slot],
    shared_tables: bool,
    *,
    consolidate_every: int = 12,
    costs: MigrationCosts | None = None,
) -> FleetRun:
    """Run a day.

    Parameters
    ----------
    topology
        The machines; their cohorts are what there is at the begin.
    consolidate_every
        Slots between attempts to empty machines; 0 for never.
    costs
        Unit costs of a move.
    """
    if not tenants or not day:
        raise ConfigError("tenants=[]: nobody arrives")
    fleet = _Fleet(topology, tenants, shared_tables)
    columns: dict[str, list[int]] = {
        name: [] for name in ("machines", "memory", "tables", "groups", "moves", "moved_bytes", "rejected")
    }
    by_tenant: list[tuple[int, ...]] = []
    slot_ns: list[float] = []
    each = [_move_ns(topology, tenant, shared_tables, costs) for tenant in tenants]
    for number, slot in enumerate(day):
        for k, picks in enumerate(slot.departures):
            fleet.leave(k, picks)
        rejected = sum(fleet.arrive(k, count) for k, count in enumerate(slot.arrivals))
        moved = [0] * len(tenants)
        if consolidate_every and (number + 1) % consolidate_every == 0:
            moved = fleet.consolidate()
        slot_ns.append(sum(n * ns for n, ns in zip(moved, each, strict=True)))
        counts = fleet.counts()
        by_tenant.append(tuple(counts))
        columns["machines"].append(fleet.in_use())
        columns["memory"].append(sum(n * size for n, size in zip(counts, fleet.sizes, strict=True)))
        columns["tables"].append(sum(n * size for n, size in zip(counts, fleet.tables, strict=True)))
        columns["groups"].append(sum(counts))
        columns["moves"].append(sum(moved))
        columns["moved_bytes"].append(sum(n * size for n, size in zip(moved, fleet.sizes, strict=True)))
        columns["rejected"].append(rejected)
    rows = {name: tuple(values) for name, values in columns.items()}
    return FleetRun(shared_tables, **rows, by_tenant=tuple(by_tenant), slot_ns=tuple(slot_ns))


def compare_fleet(
    topology: Topology,
    tenants: Sequence[Tenant],
    day: Sequence[Slot],
    *,
    consolidate_every: int = 12,
    costs: MigrationCosts | None = None,
) -> tuple[FleetRun, FleetRun, FleetSaving]:
    """Run the same day without and with shared tables, and give what these save."""
    off, on = (
        run_fleet(topology, tenants, day, shared, consolidate_every=consolidate_every, costs=costs)
        for shared in (False, True)
    )
    saving = FleetSaving(
        float(np.mean(off.memory) - np.mean(on.memory)),
        max(off.machines) - max(on.machines),
        (sum(off.machines) - sum(on.machines)) * _DAY / len(day),
        sum(off.moves) - sum(on.moves),
        sum(off.rejected) - sum(on.rejected),
    )
    return off, on, saving


def _move_ns(topology: Topology, tenant: Tenant, shared_tables: bool, costs: MigrationCosts | None) -> float:
    move = Move(
        tenant.private_bytes + tenant.shared_bytes,
        sharers=tenant.processes,
        table_sets=1 if shared_tables else tenant.processes,
        running_cpus=tenant.cpus,
        network=topology.network,
        processes=tenant.processes,
    )
    return move_cost(move, costs).total if topology.network else 0.0


class _Fleet:
    """Cohorts of machines by condition."""

    def __init__(self, topology: Topology, tenants: Sequence[Tenant], shared_tables: bool) -> None:
        both = [group_bytes(tenant, shared_tables) for tenant in tenants]
        self.sizes = [size for size, _ in both]
        self.tables = [tables for _, tables in both]
        self.cpus = [tenant.cpus for tenant in tenants]
        self.room = [(cohort.machine.memory, float(cohort.machine.cpus)) for cohort in topology.cohorts]
        empty = (0,) * len(tenants)
        self.cohorts: dict[State, int] = {(k, *empty): cohort.count for k, cohort in enumerate(topology.cohorts)}

    def in_use(self) -> int:
        return sum(count for state, count in self.cohorts.items() if any(state[1:]))

    def counts(self) -> list[int]:
        total = [0] * len(self.sizes)
        for state, machines in self.cohorts.items():
            for k, groups in enumerate(state[1:]):
                total[k] += machines * groups
        return total

    def left(self, state: State) -> tuple[int, float]:
        """Bytes and CPUs that a machine in that condition has left."""
        memory, cpus = self.room[state[0]]
        for groups, size, busy in zip(state[1:], self.sizes, self.cpus, strict=True):
            memory -= groups * size
            cpus -= groups * busy
        return memory, cpus

    def fits(self, state: State, k: int) -> int:
        """How many groups of tenant `k` fit beside what runs."""
        memory, cpus = self.left(state)
        by_memory = memory // self.sizes[k] if self.sizes[k] else 1 << 60
        return max(0, min(by_memory, int(cpus / self.cpus[k] + 1e-9)))

    def change(self, state: State, k: int, groups: int, machines: int = 1) -> State:
        """Give so many machines of a cohort so many groups more, or less."""
        then = (*state[: k + 1], state[k + 1] + groups, *state[k + 2 :])
        self.cohorts[state] -= machines
        if not self.cohorts[state]:
            del self.cohorts[state]
        self.cohorts[then] = self.cohorts.get(then, 0) + machines
        return then

    def arrive(self, k: int, groups: int, *, only_in_use: bool = False) -> int:
        """Seat groups; gives how many found no room."""
        if not groups:
            return 0
        for _, _, state in sorted(self._best_first(self.cohorts)):
            if only_in_use and not any(state[1:]):
                break
            each = self.fits(state, k)
            if not each:
                continue
            # The fullest machine stays the fullest while it takes groups, so each takes all that it can before the next.
            full = min(groups // each, self.cohorts[state])
            more = full < self.cohorts[state]
            if full:
                self.change(state, k, each, full)
                groups -= full * each
            if groups and more:
                self.change(state, k, groups)
                groups = 0
            if not groups:
                return 0
        return groups

    def leave(self, k: int, picks: Sequence[float]) -> None:
        """Take groups away: which ones say the picks."""
        there = self.counts()[k]
        gone: list[int] = []
        for pick in picks[:there]:
            position = int(pick * (there - len(gone)))
            for earlier in gone:
                if position >= earlier:
                    position += 1
            insort(gone, position)
        end, start = 0, 0
        for state, machines in sorted(self.cohorts.items()):
            groups = state[k + 1]
            start, end = end, end + machines * groups
            by_machine: dict[int, int] = {}
            while gone and gone[0] < end:
                machine = (gone.pop(0) - start) // groups
                by_machine[machine] = by_machine.get(machine, 0) + 1
            for less in by_machine.values():
                self.change(state, k, -less)

    def consolidate(self) -> list[int]:
        """Empty machines, the one with the least in use first, until one's groups do not all fit elsewhere."""
        moved = [0] * len(self.sizes)
        while True:
            used = [(self.room[s[0]][0] - self.left(s)[0], s) for s in self.cohorts if any(s[1:])]
            if len(used) < 2 and self.in_use() < 2:
                return moved
            _, state = min(used)
            before = dict(self.cohorts)
            self.cohorts[state] -= 1
            if not self.cohorts[state]:
                del self.cohorts[state]
            if any(self.arrive(k, groups, only_in_use=True) for k, groups in enumerate(state[1:])):
                self.cohorts = before
                return moved
            empty = (state[0], *(0,) * len(self.sizes))
            self.cohorts[empty] = self.cohorts.get(empty, 0) + 1
            moved = [a + b for a, b in zip(moved, state[1:], strict=True)]

    def _best_first(self, states: Iterable[State]) -> list[tuple[bool, int, State]]:
        return [(not any(state[1:]), self.left(state)[0], state) for state in states]
