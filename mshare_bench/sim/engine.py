"""The simulating engine: rows of the results contract, without running anything."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.many import Divided, each
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.errors import ConfigError, MshareBenchError
from mshare_bench.results.describe import alike_columns, cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES
from mshare_bench.sim.accounting import Account, Setting, account, account_of, mechanism_of, setting_of
from mshare_bench.sim.alike import Alike, group_alike
from mshare_bench.sim.contention import lock_wait, sharing_of
from mshare_bench.sim.flushes import Flushes, flushes_of
from mshare_bench.sim.mmu.cells import MmuFigures, mmu_figures
from mshare_bench.sim.placed_rows import add_places
from mshare_bench.sim.time import Ranked, Timed, median_times, prices_of, ranked, spreads, timed
from mshare_bench.sim.work import WORK_PHASES, shares_of
from mshare_bench.uncollected import uncollected

if TYPE_CHECKING:
    from mshare_bench.sim.epochs import Moved
    from mshare_bench.sim.places import Places

__all__ = ["SimEngine"]

_BATCH = 16384
_SECONDS_PER_CELL = 0.0001


class SimEngine:
    """Predicts: bytes and faults exactly, and times where a cell names a cost profile.

    Parameters
    ----------
    costs
        Cost profiles by name. A cell whose `cost` is empty gets no times.
    """

    name = "sim"
    model = "accounting-2+time-1"

    def __init__(self, geometry: Geometry = X86_64, costs: Mapping[str, CostModel] | None = None) -> None:
        self._geometry = geometry
        self._costs = dict(costs or {})
        self._prices = {name: prices_of(one) for name, one in self._costs.items()}

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Predict every cell; tables come in batches. A cell that the mechanism can't do becomes a `skipped` row."""
        for start in range(0, len(cells), _BATCH):
            rows = Rows()
            with uncollected():
                for alike in group_alike(cells[start : start + _BATCH]):
                    self._alike(alike, rows)
                tables = rows.tables()
            yield tables

    def estimate(self, cell: Cell) -> Estimate:
        """What a simulated cell takes: a moment; and the page tables that it will show."""
        try:
            return Estimate(_SECONDS_PER_CELL, 0, account(cell.point, self._geometry).page_table_bytes)
        except MshareBenchError:
            return Estimate(0.0, 0, 0)

    def _alike(self, alike: Alike, rows: Rows) -> None:
        point, cell = alike.point, alike.cells[0]
        places, moved, remote, waits, spent = None, None, None, None, dict[str, float]()
        if point.machines is not None and point.workload.name == "fleet":
            from mshare_bench.sim.fleet import add_fleet

            add_fleet(cell, rows, self._costs.get(cell.cost), self._geometry)
            return
        try:
            if point.machines is None:
                setting = setting_of(point, self._geometry)
                result, times = account_of(setting, self._geometry), self._timed(cell, setting)
                flushes, waits = self._flushes(cell, setting), self._lock_wait(cell, setting, result, times)
            else:
                from mshare_bench.placement.cost import cost_of
                from mshare_bench.sim.remote import remote_walk_fraction

                places, moved = self._placed(cell)
                spent = (
                    moved.costs() if moved else {"placement_cost_ns": cost_of(places.problem, places.assignment).total}
                )
                result, remote = places.account, remote_walk_fraction(places, self._geometry)
                times, flushes = self._timed(cell, places), self._placed_flushes(places)
            mmu = mmu_figures(cell, self._geometry, remote)
        except Divided as divided:
            for part in alike.parted(divided.labels):
                self._alike(part, rows)
            return
        except MshareBenchError as error:
            if len(alike.cells) == 1:
                rows.add("cells", **cell_columns(cell, "skipped", str(error)))
            for part in alike.alone() if len(alike.cells) > 1 else ():
                self._alike(part, rows)  # each has numbers of its own to name
            return
        tables, page = result.tables, result.page
        ranks = ranked(times) if times else None
        basis = self._basis(cell, result)
        basis += "+sampled" * (mmu is not None and mmu.sampled) + "+extrapolated" * cell.extrapolated
        _extend(
            rows,
            "cells",
            alike,
            **alike_columns(alike.cells, processes=point.workload.processes, region_bytes=point.workload.region_bytes),
            page_table_bytes=tables.pages * page,
            pte_table_bytes=tables.pte * page,
            pmd_table_bytes=tables.pmd * page,
            pud_table_bytes=tables.pud * page,
            page_table_source="model",
            data_bytes=result.total("data_bytes"),
            metadata_bytes=result.total("metadata_bytes"),
            minor_faults=result.total("minor_faults"),
            linking_faults=result.total("linking_faults"),
            address_space_bytes=result.address_space_bytes,
            remote_walk_fraction=remote,
            tlb_flushes=None if flushes is None else flushes.ordered,
            shootdowns=None if flushes is None else flushes.interrupts,
            **spent,
            basis=basis,
            lock_wait_ns=waits,  # of placed cells it is not known which CPUs meet
            **_mmu_columns(mmu),
            **_columns(ranks),
        )
        self._long_tables(alike, result, ranks, rows, places)
        if places is not None and moved is not None:
            moved.add(_key(alike.cells), places.problem.topology, rows)

    def _placed(self, cell: Cell) -> "tuple[Places, Moved | None]":
        """Place a cell once, or from epoch to epoch."""
        from mshare_bench.sim.epochs import epochs_of
        from mshare_bench.sim.places import places_of

        choice = PlacementChoice.parse(cell.point.placement)
        if choice.policy != "epochs":
            return places_of(cell.point, self._geometry), None
        return epochs_of(cell.point, choice, self._costs.get(cell.cost), self._geometry)

    def _timed(self, cell: Cell, what: "Setting | Places") -> list[Timed]:
        """Times of all processes; none where the cell names no profile."""
        if not cell.cost:
            return []
        if cell.cost not in self._prices:
            raise ConfigError(f"cost={cell.cost}: the engine was given no profile of that name")
        if isinstance(what, Setting):
            return timed(shares_of(what, self._geometry), self._prices[cell.cost])
        from mshare_bench.sim.remote import placed_times

        return placed_times(what, self._prices[cell.cost], self._geometry)

    def _flushes(self, cell: Cell, setting: Setting) -> Flushes | None:
        """Flushes on one machine, whose number of CPUs the cost profile tells."""
        known = self._costs[cell.cost].environment.get("cpus") if cell.cost else None
        return flushes_of(setting, None if known is None else int(known), self._geometry)

    def _placed_flushes(self, places: "Places") -> Flushes | None:
        """Flushes on every machine of a topology."""
        machine = places.problem.topology.machine
        parts = [(part.point, sum(len(node.cpus) for node in machine(part.machine).nodes)) for part in places.parts]
        found = [flushes_of(setting_of(point, self._geometry), cpus, self._geometry) for point, cpus in parts]
        counted = [one for one in found if one is not None]
        return sum(counted, Flushes()) if len(counted) == len(found) else None

    def _lock_wait(self, cell: Cell, setting: Setting, result: Account, times: Sequence[Timed]) -> Any:
        """What each process waits for locks while all touch, of every cell that is computed."""
        costs = self._costs.get(cell.cost)
        if costs is None or costs.get("lock_transfer") is None:
            return None
        if costs.environment.get("cpus") is None or sharing_of(setting) == "own":
            return None
        index = WORK_PHASES.index("touch")
        touching = [(one.times[index], one.processes) for one in times]
        known = [time.value * count for time, count in touching if time is not None]
        if len(known) < len(touching):
            return None

        def wait(processes: int, faults: int, whole: float) -> float:
            waits = lock_wait(setting, processes, faults, whole, costs)
            return math.nan if waits is None else waits

        # The model of a queue is no arithmetic: cells are taken one by one.
        return each(wait, setting.workload.processes, result.total("minor_faults"), 1.0 * sum(known))

    def _basis(self, cell: Cell, result: Account) -> str:
        """What a row is worth: as little as its least certain part."""
        if result.traits.basis != "exact" or not (cell.cost or cell.mmu):
            return result.traits.basis
        basis = self._costs[cell.cost].basis if cell.cost else "published"
        # Latencies of a topology are published figures, whatever the profile's are.
        return "published" if cell.point.machines is not None and basis == "calibrated" else basis

    def _long_tables(
        self, alike: Alike, result: Account, ranks: Ranked | None, rows: Rows, places: "Places | None" = None
    ) -> None:
        cells, groups = alike.cells, alike.point.workload.groups
        key = _key(cells)
        backing = mechanism_of(alike.point).name
        for one in result.regions:
            _extend(
                rows,
                "regions",
                alike,
                **key,
                region=one.name,
                backing=backing,
                region_bytes=one.region_bytes,
                mappers=one.mappers,
                page_table_bytes=one.tables.pages * result.page,
                pte_table_bytes=one.tables.pte * result.page,
                pmd_table_bytes=one.tables.pmd * result.page,
                pud_table_bytes=one.tables.pud * result.page,
                data_bytes=one.data_bytes,
                minor_faults=one.minor_faults,
                linking_faults=one.linking_faults,
            )
        if places is not None:
            add_places(key, places, rows)
            choice = PlacementChoice.parse(alike.point.placement)
            if choice.horizon is not None:
                from mshare_bench.sim.moves import add_moves, moves_of

                costs = self._costs.get(cells[0].cost)
                add_moves(key, places, moves_of(places, choice, costs, self._geometry), rows)
        else:
            for group in groups:
                who = {"group": group.name, "role": group.role, "processes": group.processes}
                _extend(rows, "groups", alike, **key, **who, machine=cells[0].machine)
        if ranks is not None:
            _phases(alike, key, ranks, result, rows)


def _key(cells: Sequence[Cell]) -> dict[str, Any]:
    """Columns that say which cell a row of a long table belongs to."""
    if len(cells) == 1:
        return {"cell": cells[0].digest, "repeat": cells[0].repeat}
    return {
        "cell": [cell.digest for cell in cells],
        "repeat": np.array([cell.repeat for cell in cells], np.int64),
    }


def _mmu_columns(figures: MmuFigures | None) -> dict[str, float]:
    if figures is None:
        return {}
    return {"tlb_misses": figures.tlb_misses, "walk_cycles": figures.walk_cycles}


def _columns(ranks: Ranked | None) -> dict[str, float]:
    """Columns of the median time of every phase."""
    columns = {}
    for phase, time in median_times(ranks).items() if ranks is not None else ():
        columns[f"{phase}_ns"] = time.value
        columns[f"{phase}_ns_lo"] = time.low
        columns[f"{phase}_ns_hi"] = time.high
    return columns


def _extend(rows: Rows, table: str, alike: Alike, **values: Any) -> None:
    """Append a row of each cell."""
    rows.extend(table, len(alike.cells), **{name: alike.column(value) for name, value in values.items()})


def _phases(alike: Alike, key: dict[str, Any], ranks: Ranked, result: Account, rows: Rows) -> None:
    """Rows of every group and phase; the faults of a group are known where it is alone."""
    groups = alike.point.workload.groups
    for number, group in enumerate(groups):
        own = [one for one in ranks.rows if one.group == group.name]
        if not own:
            continue  # its only process is the parent of the others, which has no times of a child
        found = spreads(ranks if len(own) == len(ranks.rows) else ranked(own))
        known: dict[str, Any] = {}
        if number == 0:
            known["page_table_bytes"] = result.page_table_bytes
        if len(groups) == 1:
            known["minor_faults"] = result.total("minor_faults")
        for phase, one in found.items():
            _extend(
                rows,
                "phases",
                alike,
                **key,
                group=group.name,
                phase=phase,
                order=PHASES.index(phase),
                p50_ns=one.p50,
                p95_ns=one.p95,
                p99_ns=one.p99,
                max_ns=one.max,
                sum_ns=one.sum,
                **(known if phase == "touch" else {}),
            )
