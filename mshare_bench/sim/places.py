"""Where a placed point's processes, data and page tables lie, node by node: exact bytes that add up to the point's own.

Each machine runs a part of the workload for itself: memory is not shared between machines, so what all share exists once on
each (another copy of the data, another set of the tables). Within a machine every process has its own tables and data near it,
as the policies say, and what all share lies where the copy of its domain lies. A replicated table counts at every replica.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.workload import Workload
from mshare_bench.errors import PlacementError
from mshare_bench.placement.assignment import Assignment, DomainCopy, Seat, Shares
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import assign
from mshare_bench.placement.policies.bind import require_nodes
from mshare_bench.placement.problem import Problem, make_problem
from mshare_bench.sim.accounting import Setting, account, private_bytes, setting_of
from mshare_bench.sim.bundles import Bundle, Run, bundles_of, part_of
from mshare_bench.sim.result import Account, RegionAccount
from mshare_bench.sim.tables import Tables, cohorts, count_common, count_own, union_pages

__all__ = [
    "Held",
    "MachinePart",
    "NodeUse",
    "Places",
    "check_places",
    "demands_of",
    "places_of",
    "problem_of",
    "settled",
]

_DOMAIN = "shared"


@dataclass(slots=True)
class NodeUse:
    """What lies and runs on one node."""

    processes: int = 0
    data_bytes: int = 0
    page_table_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Processes of one seat.

    Attributes
    ----------
    seat
        Where they and their own memory are.
    runs
        Which processes of every group.
    workload, setting
        Their part of the workload, and made ready to be counted.
    instances
        How many instances of a region they are all the users of; 0 where they share with others.
    """

    seat: Seat
    runs: Mapping[str, Run]
    workload: Workload
    setting: Setting
    instances: int = 0

    @property
    def processes(self) -> int:
        """How many processes."""
        return sum(stop - start for start, stop in self.runs.values())


@dataclass(frozen=True, slots=True)
class MachinePart:
    """What runs on one machine: `copy` is what all share there, None where nothing is shared."""

    machine: int
    point: Point
    account: Account
    held: tuple[Held, ...]
    copy: DomainCopy | None


@dataclass(frozen=True, slots=True)
class Places:
    """A placed point.

    Attributes
    ----------
    problem, assignment
        What was placed, and the outcome.
    parts
        Machine by machine.
    account
        All machines together; copies and replicas count.
    nodes
        By machine and the kernel's node id, for every node of a machine in use.
    """

    problem: Problem
    assignment: Assignment
    parts: tuple[MachinePart, ...]
    account: Account
    nodes: Mapping[tuple[int, int], NodeUse] = field(default_factory=dict)


def check_places(point: Point) -> None:
    """Say no to a placement that can't be, whatever its outcome.

    Raises
    ------
    ConfigError
        For a policy that does not exist.
    PlacementError
        For a node that does not exist, more processes than CPUs where each has its own, and groups that are too large.
    """
    from mshare_bench.placement.registry import require_policies

    choice = PlacementChoice.parse(point.placement)
    if choice.policy == "epochs":
        from mshare_bench.sim.epochs import check_epochs

        check_epochs(point, choice)
        return
    require_policies(choice.policy, choice.tables)
    problem_of(point, _topology(point), choice)


def places_of(point: Point, geometry: Geometry = X86_64) -> Places:
    """Place a point on its topology and count what lies where.

    Raises
    ------
    ConfigError
        As `check_places` does.
    PlacementError
        When there is no room; the message says what is missing.
    """
    choice = PlacementChoice.parse(point.placement)
    problem, bundles = problem_of(point, _topology(point), choice, geometry)
    options = {"nodes": choice.nodes} if choice.nodes else {}
    assignment = assign(problem, choice.policy, choice.tables, time_limit=choice.time_limit, **options)
    return settled(point, problem, bundles, assignment, geometry)


def settled(
    point: Point, problem: Problem, bundles: Sequence[Bundle], assignment: Assignment, geometry: Geometry = X86_64
) -> Places:
    """Count what lies where under an assignment of a point's bundles."""
    parts = tuple(_parts(point, bundles, assignment, geometry))
    nodes = {
        (part.machine, node.id): NodeUse() for part in parts for node in problem.topology.machine(part.machine).nodes
    }
    regions: dict[str, list[RegionAccount]] = {one.name: [] for one in account(point, geometry).regions}
    for part in parts:
        for one in _settle(part, nodes, geometry):
            regions[one.name].append(one)
    first = parts[0].account
    whole = tuple(_added(name, found, point.workload) for name, found in regions.items() if found)
    return Places(problem, assignment, parts, replace(first, regions=whole), nodes)


def problem_of(
    point: Point, topology: Topology, choice: PlacementChoice, geometry: Geometry = X86_64
) -> tuple[Problem, tuple[Bundle, ...]]:
    """Arrange a point for placement; gives the bundles in the order of the problem's demands, too."""
    workload = point.workload
    require_nodes(topology, choice.nodes)
    if choice.exclusive and workload.processes > topology.cpus:
        raise PlacementError(
            f"placement.exclusive=true: {workload.processes:,} processes, but topology {topology.name} has "
            f"{topology.cpus:,} CPUs"
        )
    bundles = bundles_of(workload, topology.nodes, single=choice.exclusive)
    overcommit = 1.0 if choice.exclusive else choice.overcommit or _enough(bundles, topology, choice)
    demands = demands_of(point, bundles, choice, geometry)
    return make_problem(topology, demands, overcommit=overcommit), bundles


def demands_of(
    point: Point, bundles: Sequence[Bundle], choice: PlacementChoice, geometry: Geometry = X86_64
) -> tuple[Demand, ...]:
    """Say what every bundle needs and does: its own memory, what it shares with all others, and where its reads go."""
    whole = account(point, geometry)
    setting = setting_of(point, geometry)
    common = _common_tables(setting, whole, geometry)
    shared_data = _shared_data(setting, whole, geometry)
    demands = []
    for number, bundle in enumerate(bundles):
        part = part_of(point.workload, {name: ((0, size),) for name, size in bundle.groups}, bundle.instances)
        own = _own(setting_of(replace(point, workload=part), geometry), whole, geometry)
        tables = sum(one.pages for one, _ in own.values()) * geometry.page
        private = sum(size for _, size in own.values())
        if bundle.instances:  # an instance's memory goes with its processes
            alone = account(replace(point, workload=part), geometry)
            tables, private = alone.page_table_bytes, alone.total("data_bytes")
        shares = not bundle.instances and bool(shared_data or common)
        touched = sum(c.processes * t.touched.count for c in cohorts(part) for t in c.touches) * geometry.page
        demands.append(
            Demand(
                f"{bundle.groups[0][0]}#{number}",
                bundle.processes,
                float(bundle.processes),
                private,
                -(-tables // bundle.processes),
                _DOMAIN if shares else None,
                shared_data if shares else 0,
                common if shares else 0,
                accesses_per_s=choice.reads_per_s * bundle.processes,
                walk_share=choice.walk_share,
                shared_share=max(0.0, 1.0 - private / touched) if shares and touched else float(shares),
                count=bundle.count,
            )
        )
    return tuple(demands)


def _topology(point: Point) -> Topology:
    if point.machines is None:
        raise PlacementError(f"placement={point.placement}: needs a topology; name one with topology=")
    return point.machines


def _enough(bundles: Sequence[Bundle], topology: Topology, choice: PlacementChoice) -> float:
    """Busy processes per CPU, a whole number, with which all bundles find a node (of those that they are bound to)."""
    processes = sum(bundle.count * bundle.processes for bundle in bundles)
    largest = max(bundle.processes for bundle in bundles)
    units = sum(bundle.count for bundle in bundles)
    if choice.nodes:
        named = [(topology.machine(machine), node) for machine, node in choice.nodes]
        found = [(node, 1) for machine, wanted in named for node in machine.nodes if node.id == wanted]
    else:
        found = [(node, cohort.count) for cohort in topology.cohorts for node in cohort.machine.nodes]
    sizes = [(len(node.cpus), count) for node, count in found if node.cpus]
    if not sizes:
        raise PlacementError(f"placement.nodes={choice.nodes}: none of these nodes has a CPU")
    each = -(-processes // sum(cpus * count for cpus, count in sizes))
    while sum(count * (cpus * each // largest) for cpus, count in sizes) < units:
        each += 1
    return float(each)


def _parts(
    point: Point, bundles: Sequence[Bundle], assignment: Assignment, geometry: Geometry
) -> Iterator[MachinePart]:
    """Deal the processes out in the order of the seats, and count every machine's part."""
    taken = {group.name: 0 for group in point.workload.groups}
    seats: dict[int, list[tuple[Seat, dict[str, Run], int]]] = {}
    for seat in assignment.seats:
        bundle = bundles[seat.demand]
        mine: dict[str, Run] = {}
        for name, size in bundle.groups:
            mine[name] = (taken[name], taken[name] + size * seat.count)
            taken[name] = mine[name][1]
        seats.setdefault(seat.machine, []).append((seat, mine, bundle.instances * seat.count))
    copies = {copy.machine: copy for copy in assignment.copies}
    known: dict[object, Workload] = {}  # machines that are alike run the same part: counted once

    def part(runs: Mapping[str, Sequence[Run]], instances: int) -> Workload:
        made = part_of(point.workload, runs, instances)
        return known.setdefault((made.regions, made.groups), made)

    accounts: dict[int, tuple[Workload, Account]] = {}
    settings: dict[int, Setting] = {}
    for machine, here in seats.items():
        runs: dict[str, list[Run]] = {}
        for _, own, _ in here:
            for name, run in own.items():
                runs.setdefault(name, []).append(run)
        together = {name: sorted(found) for name, found in runs.items()}
        alone = len(seats) == 1
        workload = point.workload if alone else part(together, sum(instances for _, _, instances in here))
        if id(workload) not in accounts:
            accounts[id(workload)] = workload, account(replace(point, workload=workload), geometry)
        held = []
        for seat, own, instances in here:
            seated = part({name: (run,) for name, run in own.items()}, instances)
            if id(seated) not in settings:
                settings[id(seated)] = setting_of(replace(point, workload=seated), geometry)
            held.append(Held(seat, own, seated, settings[id(seated)], instances))
        yield MachinePart(
            machine,
            replace(point, workload=workload),
            accounts[id(workload)][1],
            tuple(held),
            copies.get(machine),
        )


def _settle(part: MachinePart, nodes: dict[tuple[int, int], NodeUse], geometry: Geometry) -> Iterator[RegionAccount]:
    """Put everything of a machine on its nodes; gives its regions with their replicas."""
    extra: dict[str, Tables] = {}
    left = {one.name: (one.tables, one.data_bytes) for one in part.account.regions}
    owns = _own_of_seats(part, geometry)
    for held, own in zip(part.held, owns, strict=True):
        seat = held.seat
        nodes[part.machine, seat.node].processes += held.processes
        pages = sum(tables.pages for tables, _ in own.values())
        _lay(nodes, part.machine, "page_table_bytes", pages, seat.tables, seat.replicated, geometry.page)
        _lay(nodes, part.machine, "data_bytes", sum(size for _, size in own.values()), seat.data, False, 1)
        for name, (tables, size) in own.items():
            have, data = left[name]
            left[name] = _minus(have, tables), data - size
            if seat.replicated:
                extra[name] = extra.get(name, Tables()) + tables.times(len(seat.tables) - 1)
    # What is left all share; where placement knows of no domain it lies with the processes that have most of it.
    first = part.held[0].seat
    copy = part.copy or DomainCopy("", part.machine, first.data, first.tables, first.replicated)
    pages = sum(tables.pages for tables, _ in left.values())
    _lay(nodes, part.machine, "page_table_bytes", pages, copy.tables, copy.replicated, geometry.page)
    _lay(nodes, part.machine, "data_bytes", sum(size for _, size in left.values()), copy.data, False, 1)
    for one in part.account.regions:
        more = extra.get(one.name, Tables())
        if copy.replicated:
            more += left[one.name][0].times(len(copy.tables) - 1)
        yield replace(one, tables=one.tables + more)


def _own_of_seats(part: MachinePart, geometry: Geometry) -> list[dict[str, tuple[Tables, int]]]:
    """Tables and data that the processes of every seat have for themselves, by region."""
    whole = part.account
    if whole.traits.inherited not in ("copied", "shared"):
        return [_own_of_instance(part, held, geometry) or _own(held.setting, whole, geometry) for held in part.held]
    # Children of a fork are alike: what is not the parent's data they have in equal parts.
    sizes = [held.processes for held in part.held]
    rows: list[dict[str, tuple[Tables, int]]] = [{} for _ in sizes]
    for one in whole.regions:
        shared = _parents_bytes(part.point.workload, one.name, geometry) if part.copy else 0
        levels = [_dealt(pages, sizes) for pages in (one.tables.pte, one.tables.pmd, one.tables.pud)]
        data = _dealt(one.data_bytes - shared, sizes)
        for index, row in enumerate(rows):
            row[one.name] = Tables(*(level[index] for level in levels)), data[index]
    return rows


def _own_of_instance(part: MachinePart, held: Held, geometry: Geometry) -> dict[str, tuple[Tables, int]] | None:
    """All that the processes of instances map, which nobody else does; None where they are no such processes."""
    if not held.instances or part.account.traits.merged:
        return None
    alone = account(replace(part.point, workload=held.workload), geometry)
    return {one.name: (one.tables, one.data_bytes) for one in alone.regions}


def _parents_bytes(workload: Workload, region: str, geometry: Geometry) -> int:
    """Bytes that the parent has written for all its children."""
    rows = union_pages(workload, region)
    pages = int((rows[:, 1] - rows[:, 0] + 1).sum()) if len(rows) else 0
    return pages * workload.region(region).instances * geometry.page


def _own(setting: Setting, whole: Account, geometry: Geometry) -> dict[str, tuple[Tables, int]]:
    traits = whole.traits
    found: dict[str, tuple[Tables, int]] = {}
    for cohort in cohorts(setting.workload):
        tables = count_own(cohort, setting.mapped, geometry, traits)
        for one in setting.mapped:
            name = one.placed.region.name
            before, size = found.get(name, (Tables(), 0))
            own = 0 if traits.merged else private_bytes(cohort, one, geometry, traits)
            found[name] = before + tables.get(name, Tables()), size + own
    return found


def _common_tables(setting: Setting, whole: Account, geometry: Geometry) -> int:
    if whole.traits.inherited in ("copied", "shared"):
        return 0
    counts = count_common(setting.workload, setting.mapped, geometry, whole.traits)
    return sum(one.pages for one in counts.values()) * geometry.page


def _shared_data(setting: Setting, whole: Account, geometry: Geometry) -> int:
    traits = whole.traits
    if traits.inherited in ("copied", "shared"):
        return sum(_parents_bytes(setting.workload, one.name, geometry) for one in whole.regions)
    if traits.merged:
        return whole.total("data_bytes")
    private = sum(
        private_bytes(cohort, one, geometry, traits) for one in setting.mapped for cohort in cohorts(setting.workload)
    )
    return whole.total("data_bytes") - private


def _lay(
    nodes: dict[tuple[int, int], NodeUse],
    machine: int,
    what: str,
    amount: int,
    shares: Shares,
    replicated: bool,
    unit: int,
) -> None:
    """Lay so many units on nodes by their shares, whole units each; all of them on each node where replicated."""
    parts = [amount] * len(shares) if replicated else _dealt(amount, [share for _, share in shares])
    for (node, _), part in zip(shares, parts, strict=True):
        use = nodes[machine, node]
        setattr(use, what, getattr(use, what) + part * unit)


def _dealt(amount: int, weights: Sequence[float]) -> list[int]:
    """Deal whole things out by weight; what rounding leaves goes to the largest remainders, the first of them."""
    total = float(sum(weights))
    exact = [amount * weight / total for weight in weights]
    parts = [int(one) for one in exact]
    rest = amount - sum(parts)
    order = np.argsort([part - one for part, one in zip(parts, exact, strict=True)], kind="stable")
    for index in range(abs(rest)):
        parts[int(order[index % len(parts)])] += 1 if rest > 0 else -1
    return parts


def _minus(one: Tables, other: Tables) -> Tables:
    return Tables(one.pte - other.pte, one.pmd - other.pmd, one.pud - other.pud)


def _added(name: str, parts: Sequence[RegionAccount], workload: Workload) -> RegionAccount:
    """One region over all machines."""
    region = workload.region(name)
    tables = Tables()
    for one in parts:
        tables += one.tables

    def total(column: str) -> int:
        return sum(int(getattr(one, column)) for one in parts)

    return RegionAccount(
        name,
        region.size * region.instances,
        total("mappers"),
        tables,
        total("data_bytes"),
        total("metadata_bytes"),
        total("minor_faults"),
        total("linking_faults"),
    )
