"""Rows of a fleet's day: the tenants' groups with the page tables that the mechanism gives them, hour by hour.

What one group costs is counted as a point of its own; `placement/fleet.py` seats the groups. The summary row is the busiest
moment, the one with most page tables, and equals its row of `fleet`.
"""

from dataclasses import dataclass, replace

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.errors import PlacementError
from mshare_bench.placement.fleet import FleetRun, Tenant, make_day, run_fleet
from mshare_bench.placement.migration import migration_costs
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.sim.accounting import account, setting_of
from mshare_bench.sim.bundles import part_of
from mshare_bench.sim.moves import table_sets
from mshare_bench.sim.result import Account
from mshare_bench.workloads.fleet import KINDS

__all__ = ["SLOTS", "add_fleet", "groups_of"]

SLOTS = 288
"""Stretches of a day: five minutes each."""

_CONSOLIDATE = 12
"""Slots between attempts to empty machines: an hour."""


@dataclass(frozen=True, slots=True)
class _Group:
    tenant: Tenant
    account: Account
    shared: bool


def groups_of(point: Point, geometry: Geometry = X86_64) -> tuple[tuple[Tenant, ...], bool]:
    """Tenants of a point with what its mechanism makes of their shared memory, and whether their groups share tables."""
    groups = _groups(point, geometry)
    return tuple(one.tenant for one in groups), all(one.shared for one in groups)


def add_fleet(cell: Cell, rows: Rows, model: CostModel | None = None, geometry: Geometry = X86_64) -> None:
    """Run the day of a cell and add its rows: `cells`, `regions`, `groups`, `fleet`, `migrations`."""
    point, topology = cell.point, cell.point.machines
    if topology is None:
        raise PlacementError(f"topology={point.topology}: a fleet needs machines")
    groups = _groups(point, geometry)
    tenants, shared = groups_of(point, geometry)
    day = make_day(tenants, slots=SLOTS, seed=cell.seed)
    costs = migration_costs(model)
    run = run_fleet(topology, tenants, day, shared, consolidate_every=_CONSOLIDATE, costs=costs)
    busiest = max(range(SLOTS), key=lambda slot: (run.tables[slot], run.memory[slot]))
    counts = run.by_tenant[busiest]
    key = {"cell": cell.digest, "repeat": cell.repeat}
    levels = [
        sum(count * getattr(one.account.tables, level) for count, one in zip(counts, groups, strict=True))
        for level in ("pte", "pmd", "pud")
    ]
    rows.add(
        "cells",
        **cell_columns(cell),
        page_table_bytes=run.tables[busiest],
        pte_table_bytes=levels[0] * geometry.page,
        pmd_table_bytes=levels[1] * geometry.page,
        pud_table_bytes=levels[2] * geometry.page,
        page_table_source="model",
        data_bytes=run.memory[busiest] - run.tables[busiest],
        basis="hypothetical",
    )
    _long(key, point, groups, counts, rows, geometry)
    _days(key, run, rows)


def _groups(point: Point, geometry: Geometry) -> list[_Group]:
    found = []
    groups = {group.name: group.processes for group in point.workload.groups}
    for kind in KINDS:
        if kind.name not in groups:
            continue
        processes = min(kind.processes, groups[kind.name])
        part = part_of(point.workload, {kind.name: ((0, processes),)}, 1)
        # A region of one group only: where there is just one, it has no instances to be told apart.
        alone = replace(point, workload=replace(part, regions=tuple(replace(r, instances=1) for r in part.regions)))
        whole, setting = account(alone, geometry), setting_of(alone, geometry)
        tables = whole.page_table_bytes
        shared = table_sets(setting, processes, geometry) == 1 or bool(tables % processes)
        peak = point.workload.region(kind.name).instances
        tenant = Tenant(
            kind.name,
            processes,
            kind.cpus,
            kind.private_bytes,
            whole.total("data_bytes"),
            tables if shared else tables // processes,
            float(peak),
            kind.lifetime_hours,
            busiest_hour=kind.busiest_hour,
        )
        found.append(_Group(tenant, whole, shared))
    if len({one.shared for one in found}) > 1:  # one figure for all: tables of a group in all
        found = [
            one
            if one.shared
            else replace(one, shared=True, tenant=replace(one.tenant, shared_table_bytes=one.account.page_table_bytes))
            for one in found
        ]
    return found


def _long(
    key: dict[str, object],
    point: Point,
    groups: list[_Group],
    counts: tuple[int, ...],
    rows: Rows,
    geometry: Geometry,
) -> None:
    page = geometry.page
    for count, one in zip(counts, groups, strict=True):
        tables = one.account.tables
        rows.add(
            "regions",
            **key,
            region=one.tenant.name,
            backing=point.mechanism,
            region_bytes=one.account.regions[0].region_bytes * count,
            mappers=one.tenant.processes * count,
            page_table_bytes=tables.pages * page * count,
            pte_table_bytes=tables.pte * page * count,
            pmd_table_bytes=tables.pmd * page * count,
            pud_table_bytes=tables.pud * page * count,
            data_bytes=one.tenant.shared_bytes * count,
        )
        who = {"group": one.tenant.name, "role": one.tenant.name, "processes": one.tenant.processes * count}
        rows.add("groups", **key, **who, machine=point.topology)
    private = sum(count * one.tenant.private_bytes for count, one in zip(counts, groups, strict=True))
    rows.add("regions", **key, region="private", backing="anonymous", page_table_bytes=0, data_bytes=private)


def _days(key: dict[str, object], run: FleetRun, rows: Rows) -> None:
    for slot in range(SLOTS):
        rows.add(
            "fleet",
            **key,
            slot=slot,
            hour=slot * 24 / SLOTS,
            machines=run.machines[slot],
            data_bytes=run.memory[slot] - run.tables[slot],
            page_table_bytes=run.tables[slot],
            groups=run.groups[slot],
            moves=run.moves[slot],
            moved_bytes=run.moved_bytes[slot],
            rejected=run.rejected[slot],
        )
        if run.moves[slot]:
            rows.add(
                "migrations",
                **key,
                epoch=slot,
                group="fleet",
                what="group",
                bytes=run.moved_bytes[slot],
                cost_ns=run.slot_ns[slot],
                advice="move",
                reason=f"move: {run.moves[slot]} groups leave machines that run little, which then stand empty",
            )
