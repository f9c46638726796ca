"""What it would cost to bring a placed point's memory after its processes, and when that pays.

The question that a scheduler leaves behind: the processes of a machine have been moved to another node (the farthest from where
they were that has CPUs), and their memory is still where it was. Data, page tables or both can follow; tables can get a replica
instead; with several machines, the whole group can leave for another one. What is saved is the remote part of the reads that the
placement's options name, for as long as its horizon says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.placement.migration import Advice, Move, MoveCost, advise, migration_costs, move_cost, replica_cost
from mshare_bench.placement.problem import MachineKind
from mshare_bench.results.rows import Rows
from mshare_bench.sim.accounting import Setting
from mshare_bench.sim.placed_rows import machine_name

if TYPE_CHECKING:
    from mshare_bench.sim.places import Places

__all__ = ["Follow", "add_moves", "follow", "moves_of", "table_sets"]


@dataclass(frozen=True, slots=True)
class Follow:
    """One way for memory to follow: what it takes, and what to do about it.

    `to_machine` is 1 for the group that leaves; `cost` is that of the move, whatever the advice.
    """

    what: str
    from_node: int
    to_machine: int
    to_node: int
    size: int
    cost: MoveCost
    advice: Advice


def follow(kind: MachineKind) -> tuple[int, int]:
    """Ids of the nodes that a machine's processes leave, the first with CPUs and memory, and go to, the farthest with CPUs."""
    nodes = kind.machine.nodes
    start = next(i for i, node in enumerate(nodes) if node.cpus and node.memory)
    others = [i for i, node in enumerate(nodes) if node.cpus and node.memory and i != start]
    away = max(others, key=lambda i: float(kind.penalty[i, start] - kind.penalty[i, i]), default=start)
    return nodes[start].id, nodes[away].id


def moves_of(
    places: "Places", choice: PlacementChoice, model: CostModel | None = None, geometry: Geometry = X86_64
) -> Iterator[Follow]:
    """Weigh every way for the memory of the first machine in use to follow its processes."""
    part, problem = places.parts[0], places.problem
    kind = problem.kinds[problem.kind_of[part.machine]]
    start, away = follow(kind)
    here, there = kind.machine.index(start), kind.machine.index(away)
    penalty = float(kind.penalty[there, here] - kind.penalty[there, there])
    costs, horizon = migration_costs(model), choice.horizon or 0.0
    whole, processes = part.account, part.point.workload.processes
    reads = choice.reads_per_s * processes
    data = Move(
        whole.total("data_bytes"),
        folio=part.point.page,
        sharers=processes if whole.traits.data == "shared" else 1,
        table_sets=table_sets(part.held[0].setting, processes, geometry),
        running_cpus=min(float(processes), float(kind.cpus[there])),
        machine_cpus=kind.machine.cpus,
        # v3 of msharefs flushes the TLBs of all CPUs whenever it takes entries of a window away; what was promised does not.
        flush_all=bool(whole.traits.window) and whole.traits.basis != "hypothetical",
        reads_per_s=reads * (1 - choice.walk_share),
    )
    tables = Move(
        whole.page_table_bytes,
        running_cpus=data.running_cpus,
        machine_cpus=data.machine_cpus,
        flush_all=data.flush_all,
        reads_per_s=reads * choice.walk_share,
    )
    of_data, of_tables = move_cost(data, costs), move_cost(tables, costs)
    save_data, save_tables = (move.reads_per_s * penalty for move in (data, tables))
    replica = replica_cost(tables.size, 1, costs)
    held = tables.size * problem.memory_price()
    to_all = f"; every shootdown goes to all {data.machine_cpus} CPUs (flush_tlb_all)" if data.flush_all else ""
    if start != away:
        advice = advise(save_data, of_data, horizon, what="the data")
        advice = replace(advice, reason=advice.reason + to_all)
        yield Follow("data", start, 0, away, data.size, of_data, advice)
        advice = advise(
            save_tables, of_tables, horizon, replica_saving=save_tables - held, replica=replica, what="the page tables"
        )
        yield Follow("tables", start, 0, away, tables.size, of_tables, advice)
        both = of_data.plus(of_tables)
        advice = advise(save_data + save_tables, both, horizon, what="data and page tables")
        yield Follow("group", start, 0, away, data.size + tables.size, both, advice)
    network = problem.topology.network
    if problem.topology.machines > 1 and network is not None:
        leaving = Move(
            data.size,
            folio=data.folio,
            sharers=data.sharers,
            table_sets=data.table_sets,
            running_cpus=data.running_cpus,
            machine_cpus=data.machine_cpus,
            network=network,
            processes=processes,
        )
        gone = move_cost(leaving, costs)
        yield Follow("group", start, 1, start, data.size, gone, advise(0.0, gone, horizon, what="the group"))


def add_moves(key: Mapping[str, Any], places: "Places", moves: Iterator[Follow], rows: Rows) -> None:
    """Add rows of `migrations`."""
    topology, machine = places.problem.topology, places.parts[0].machine
    group = "+".join(one.name for one in places.parts[0].point.workload.groups)
    for one in moves:
        other = machine if not one.to_machine else (machine + 1) % topology.machines
        rows.add(
            "migrations",
            **key,
            epoch=0,
            group=group,
            what=one.what,
            from_machine=machine_name(topology, machine),
            from_node=one.from_node,
            to_machine=machine_name(topology, other),
            to_node=one.to_node,
            bytes=one.size,
            cost_ns=one.cost.total,
            break_even_ns=one.advice.break_even_ns,
            advice=one.advice.action,
            reason=one.advice.reason,
        )


def table_sets(setting: Setting, processes: int, geometry: Geometry) -> int:
    """Sets of page tables that map a page of the data: one where its leaf tables are common, or it is nobody else's."""
    if setting.traits.data != "shared" or setting.traits.one_mm:
        return 1
    extents = [extent for one in setting.mapped for extent in one.extents]
    common = sum(one.length for one in extents if geometry.leaf_level(one.page) in one.shared)
    whole = sum(one.length for one in extents)
    return max(1, round((common + processes * (whole - common)) / whole))
