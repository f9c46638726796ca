"""The fleet's cohorts against a count of single machines and single events, written for the comparison alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.errors import ConfigError
from mshare_bench.placement.fleet import Slot, Tenant, compare_fleet, group_bytes, make_day, run_fleet

GIB = 1 << 30
MIB = 1 << 20
TENANTS = (
    Tenant("database", 400, 6.0, 4 * GIB, 16 * GIB, 32 * MIB, peak=60, lifetime_hours=9),
    Tenant("web", 32, 2.0, 3 * GIB, 2 * GIB, 4 * MIB, peak=180, lifetime_hours=2),
    Tenant("batch", 8, 8.0, 24 * GIB, 8 * GIB, 16 * MIB, peak=30, lifetime_hours=1, busiest_hour=2, night=0.1),
)


def topology(small: int = 30, large: int = 20) -> Topology:
    def machine(name: str, cpus: int, memory: int) -> Machine:
        return Machine(name, (Node(0, tuple(range(cpus)), memory),), ((10,),))

    cohorts = (MachineCohort(machine("s", 32, 96 * GIB), small), MachineCohort(machine("l", 64, 192 * GIB), large))
    return Topology("t", cohorts, Network(3e9, 30_000))


@dataclass
class Host:
    """One machine of the direct count."""

    kind: int
    memory: int
    cpus: float
    groups: list[int] = field(default_factory=list)  # tenant of every group

    def state(self) -> tuple[int, ...]:
        return (self.kind, *(self.groups.count(k) for k in range(len(TENANTS))))

    def free(self, sizes: Sequence[int]) -> int:
        return self.memory - sum(sizes[k] for k in self.groups)


def count_directly(where: Topology, day: Sequence[Slot], shared: bool, every: int) -> dict[str, list[int]]:
    """One host after the other, one event after the other."""
    sizes = [group_bytes(tenant, shared)[0] for tenant in TENANTS]
    hosts = [
        Host(kind, cohort.machine.memory, cohort.machine.cpus)
        for kind, cohort in enumerate(where.cohorts)
        for _ in range(cohort.count)
    ]

    def seat(k: int, among: list[Host]) -> bool:
        fitting = []
        for host in among:
            busy = sum(TENANTS[other].cpus for other in host.groups)
            if host.free(sizes) >= sizes[k] and host.cpus - busy >= TENANTS[k].cpus - 1e-9:
                fitting.append((not host.groups, host.free(sizes), host.state(), id(host), host))
        if fitting:
            min(fitting, key=lambda one: one[:4])[4].groups.append(k)
        return bool(fitting)

    rows: dict[str, list[int]] = {name: [] for name in ("machines", "memory", "groups", "moves", "rejected")}
    for number, slot in enumerate(day):
        for k, picks in enumerate(slot.departures):
            ordered = [host for host in sorted(hosts, key=Host.state) for _ in range(host.groups.count(k))]
            for pick in picks[: len(ordered)]:
                ordered.pop(int(pick * len(ordered))).groups.remove(k)
        rejected = sum(not seat(k, hosts) for k, count in enumerate(slot.arrivals) for _ in range(count))
        moves = 0
        while every and (number + 1) % every == 0:
            used = [host for host in hosts if host.groups]
            if len(used) < 2:
                break
            least = min(used, key=lambda host: (host.memory - host.free(sizes), host.state()))
            before = [list(host.groups) for host in hosts]
            leaving, least.groups = sorted(least.groups), []
            others = [host for host in used if host is not least]
            if not all(seat(k, others) for k in leaving):
                for host, groups in zip(hosts, before, strict=True):
                    host.groups = groups
                break
            moves += len(leaving)
        rows["machines"].append(sum(bool(host.groups) for host in hosts))
        rows["memory"].append(sum(host.memory - host.free(sizes) for host in hosts))
        rows["groups"].append(sum(len(host.groups) for host in hosts))
        rows["moves"].append(moves)
        rows["rejected"].append(rejected)
    return rows


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("seed", "load"), [(0, 0.5), (1, 1.0), (2, 4.0)])
def test_cohorts_give_what_fifty_single_machines_give(shared: bool, seed: int, load: float) -> None:
    tenants = [replace(tenant, peak=tenant.peak * load) for tenant in TENANTS]
    day = make_day(tenants, slots=48, seed=seed)
    run = run_fleet(topology(), tenants, day, shared, consolidate_every=6)
    direct = count_directly(topology(), day, shared, 6)
    assert {name: list(getattr(run, name)) for name in direct} == direct
    assert sum(run.moves) > 0 or load == 4.0
    assert (sum(run.rejected) > 0) == (load == 4.0)


def test_sharing_tables_saves_their_copies_and_machines() -> None:
    day = make_day(TENANTS, slots=48)
    off, on, saving = compare_fleet(topology(), TENANTS, day, consolidate_every=6)
    assert sum(off.rejected) == sum(on.rejected) == 0
    assert off.groups == on.groups
    for a, b in zip(off.memory, on.memory, strict=True):
        assert a > b
    copies = [a - b for a, b in zip(off.tables, on.tables, strict=True)]
    assert [a - b for a, b in zip(off.memory, on.memory, strict=True)] == copies
    assert saving.memory == pytest.approx(sum(copies) / len(copies))
    assert saving.peak_machines > 0
    assert saving.machine_hours == pytest.approx(sum(a - b for a, b in zip(off.machines, on.machines, strict=True)) / 2)


def test_one_process_per_group_saves_nothing() -> None:
    alone = [replace(tenant, processes=1) for tenant in TENANTS]
    off, on, saving = compare_fleet(topology(), alone, make_day(alone, slots=24))
    assert off.memory == on.memory
    assert (saving.memory, saving.peak_machines, saving.machine_hours, saving.moves) == (0, 0, 0, 0)


def test_what_moves_costs_time_on_the_wire() -> None:
    day = make_day(TENANTS, slots=48, seed=3)
    run = run_fleet(topology(), TENANTS, day, True, consolidate_every=6)
    assert run.move_ns >= sum(run.moved_bytes) * 0.9 / 3e9 * 1e9
    assert run_fleet(topology(), TENANTS, day, True, consolidate_every=0).move_ns == 0


def test_a_day_follows_the_hours_and_the_seed() -> None:
    (tenant,) = [replace(TENANTS[1], peak=4000.0)]
    day = make_day([tenant], slots=96, seed=7)
    assert day == make_day([tenant], slots=96, seed=7) != make_day([tenant], slots=96, seed=8)
    there, by_hour = 0, {}
    for number, slot in enumerate(day):
        there += slot.arrivals[0] - len(slot.departures[0])
        by_hour[number / 4] = there
    for hour in (2.0, 8.0, 14.0, 20.0):
        assert by_hour[hour] == pytest.approx(tenant.expected(hour), rel=0.05)
    assert tenant.expected(14) == 4000
    assert tenant.expected(2) == 2000


@pytest.mark.parametrize("seed", range(4))
def test_no_machine_is_ever_over_its_room(seed: int) -> None:
    rng = random.Random(seed)
    crowd = [replace(tenant, peak=tenant.peak * rng.uniform(0.5, 3)) for tenant in TENANTS]
    run = run_fleet(topology(), crowd, make_day(crowd, slots=24, seed=seed), bool(seed % 2))
    where = topology()
    assert all(used <= where.memory for used in run.memory)
    assert all(machines <= where.machines for machines in run.machines)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"processes": 0}, "tenants.web.processes=0: must be positive"),
        ({"peak": -1.0}, "tenants.web.peak=-1.0: must not be negative"),
        ({"night": 2.0}, "tenants.web.night=2.0: must be between 0 and 1"),
    ],
)
def test_an_impossible_tenant_is_refused(fields: dict[str, float], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        replace(TENANTS[1], **fields)  # type: ignore[arg-type]


def test_an_empty_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody arrives"):
        run_fleet(topology(), TENANTS, (), True)
    with pytest.raises(ConfigError, match="slots=0"):
        make_day(TENANTS, slots=0)
