"""The engine of real applications: starts a program, watches it, stops it; predicts it from what was watched.

A cell of engine `real` runs the program's driver under the kernel's counters. A cell of engine `sim` of the same point is the
simulator's count for the **measured access pattern**: which 2 MiB stretches each process has populated (basis `conditioned`). So
the two rows say whether the kernel's own count of tables follows from what the processes touch; and rows of mechanisms that the
program can't be started with say what the same pattern would cost with them.

What is measured is how much ``VmPTE`` has grown since the processes had touched as little of the memory as can be (before
that, for what they had touched by then), added up over the processes. What other mappings of theirs grew by meanwhile is in it,
and beside it as the noise. Processes that were not there before are counted without the tables of their other mappings.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mshare_bench.domain.application import Figure, Stage, Timing, Watched
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.ports import ApplicationDriver, Estimate, Tables
from mshare_bench.errors import CapabilityError, CellFailed, ConfigError, GuardError, MshareBenchError
from mshare_bench.real.cgroups import memory_cgroup
from mshare_bench.real.counters.page_tables import settle
from mshare_bench.real.counters.vmpte import representatives
from mshare_bench.real.guard import DEFAULT_RESERVE_BYTES, Need, guard
from mshare_bench.real.knobs import Knob, More, knobs_set, nr_hugepages, restore_stale
from mshare_bench.real.observe import Reading, observe, observed_workload, resident_bytes
from mshare_bench.real.private_folder import private_folder
from mshare_bench.real.servers import Servers
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES
from mshare_bench.sim.accounting import Account, account
from mshare_bench.workloads.registry import workloads

__all__ = ["ApplicationEngine", "Observation", "is_application"]

_PROCESS_BYTES = 12 << 20
"""What a process of an application takes beside the memory that is the matter: a backend, an interpreter."""


def is_application(cell: Cell) -> bool:
    """Whether a cell is this engine's: real ones of applications, and those predicted from what is watched."""
    spec = workloads().get(cell.point.workload.name)
    applies = spec is not None and spec.driver is not None
    return applies and (cell.engine == "real" or cell.model.startswith(ApplicationEngine.model))


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one run of a program.

    Attributes
    ----------
    before, after
        Readings by process group: attached, and having touched.
    data_bytes
        The watched memory itself, each page once.
    machine_bytes
        How much the machine's ``PageTables`` grew from before the start to after the touch.
    attach, touch
        How long these took; None where that says nothing.
    figures
        What the application says of itself.
    """

    before: Mapping[str, Sequence[Reading]]
    after: Mapping[str, Sequence[Reading]]
    data_bytes: int
    machine_bytes: int
    attach: Timing | None
    touch: Timing | None
    figures: Sequence[Figure]

    @property
    def page_table_bytes(self) -> int:
        """Tables that the watched memory costs, by the kernel's count of each process."""
        known = {one.pid: one for group in self.before.values() for one in group}
        total = 0
        for one in (one for group in self.after.values() for one in group):
            first = known.get(one.pid)
            if first is None:
                total += _watched_bytes(one)
            else:
                total += one.vmpte_bytes - first.vmpte_bytes + _watched_bytes(first)
        return total

    @property
    def minor_faults(self) -> int | None:
        """Minor faults between the two readings; None where a process was not there before."""
        known = {one.pid: one.minor_faults for group in self.before.values() for one in group}
        readings = [one for group in self.after.values() for one in group]
        if not all(one.pid in known for one in readings):
            return None
        return sum(one.minor_faults - known[one.pid] for one in readings)


class ApplicationEngine:
    """Runs cells of applications on this machine; cells of one point together, so that the prediction has its pattern.

    Parameters
    ----------
    reserve
        Bytes of memory that must stay free.
    timeout
        Seconds that one step of a driver may take.
    root
        Where the folders of runs are; as `private_folder` has it by default.
    """

    name = "real"
    model = "application-1"

    def __init__(
        self,
        reserve: int = DEFAULT_RESERVE_BYTES,
        timeout: float = 120.0,
        root: Path | None = None,
        geometry: Geometry = X86_64,
    ) -> None:
        self._reserve, self._timeout, self._root, self._geometry = reserve, timeout, root, geometry

    def estimate(self, cell: Cell) -> Estimate:
        """What a cell takes, by the pattern that its workload declares."""
        try:
            expected = account(cell.point, self._geometry)
        except MshareBenchError:
            return Estimate(0.0, 0, 0)
        if cell.engine == "sim":
            return Estimate(0.0, 0, expected.page_table_bytes)
        return Estimate(30.0, self._need(cell.point, expected).total_bytes, expected.page_table_bytes)

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run the real cells first, then count the others by what was seen; a prediction without its run is `skipped`."""
        seen: dict[tuple[str, int, str], Observation] = {}
        for cell in sorted(cells, key=lambda one: one.engine != "real"):
            rows = Rows()
            key = (cell.point.baseline_digest, cell.repeat)
            try:
                if cell.engine == "real":
                    seen[*key, cell.point.mechanism] = found = self._observe(cell.point)
                    self._measured(cell, found, rows)
                else:
                    self._predicted(cell, {name: one for (*own, name), one in seen.items() if tuple(own) == key}, rows)
            except (CapabilityError, ConfigError, GuardError) as error:
                rows = Rows()
                rows.add("cells", **cell_columns(cell, "skipped", str(error)))
            except CellFailed as error:
                rows = Rows()
                rows.add("cells", **cell_columns(cell, "void", str(error)))
            yield rows.tables()

    def _need(self, point: Point, expected: Account) -> Need:
        count = point.workload.processes
        huge = point.page > self._geometry.page
        data = point.workload.region_bytes
        return Need(
            count + 8,
            # A program keeps its data twice as a rule: in the shared memory and in the files that it is loaded from.
            data if huge else 2 * data,
            expected.page_table_bytes,
            count * _PROCESS_BYTES,
            data if huge else 0,
        )

    def _observe(self, point: Point) -> Observation:
        spec = workloads()[point.workload.name]
        assert spec.driver is not None
        if spec.mechanisms and point.mechanism not in spec.mechanisms:
            raise CapabilityError(
                f"mechanism={point.mechanism}: {spec.name} can be started with {', '.join(spec.mechanisms)}"
            )
        restore_stale()  # what a killed run has left set
        expected = account(point, self._geometry)
        needed = self._need(point, expected)
        guard(lambda processes: replace(needed, processes=processes), needed.processes, self._reserve)
        driver = spec.driver()
        with (
            private_folder(self._root) as folder,
            memory_cgroup(needed.total_bytes + self._reserve // 2) as group,
            contextlib.closing(Servers(folder, group.procs, self._timeout)) as servers,
        ):
            stage = Stage(
                folder,
                point.workload,
                point.mechanism,
                point.page,
                self._timeout,
                servers.spawn,
                servers.run,
                servers.wait,
                servers.pids,
            )
            lack = driver.lack(stage)
            if lack:
                raise CapabilityError(f"workload={spec.name}: {lack}")
            with knobs_set(self._knobs(driver, stage)):
                try:
                    return self._watch(driver, stage)
                finally:
                    driver.stop(stage)
                    servers.close()

    def _knobs(self, driver: ApplicationDriver, stage: Stage) -> dict[Knob, str | int | More]:
        count = driver.hugepages(stage)
        return {nr_hugepages(stage.page): More(count)} if count else {}

    def _watch(self, driver: ApplicationDriver, stage: Stage) -> Observation:
        quiet = settle(tolerance_bytes=1 << 20).page_table_bytes
        driver.start(stage)
        attached = driver.attach(stage)
        before = self._read(driver, attached)
        touched = driver.touch(stage)
        after = self._read(driver, touched)
        grown = settle(tolerance_bytes=1 << 20).page_table_bytes - quiet
        data = resident_bytes(touched.pids, driver.watches)
        return Observation(before, after, data, grown, attached.timing, touched.timing, tuple(driver.figures(stage)))

    def _read(self, driver: ApplicationDriver, watched: Watched) -> dict[str, list[Reading]]:
        once = set(representatives(watched.pids))  # processes that share an address space would count twice
        groups = {name: [pid for pid in pids if pid in once] for name, pids in watched.groups.items()}
        readings = iter(observe([pid for pids in groups.values() for pid in pids], driver.watches, self._geometry))
        return {name: [next(readings) for _ in pids] for name, pids in groups.items()}

    def _measured(self, cell: Cell, found: Observation, rows: Rows) -> None:
        times = {"attach": found.attach, "touch": found.touch}
        medians = {
            f"{name}_ns": float(np.median(one.each_ns)) for name, one in times.items() if one and len(one.each_ns)
        }
        rows.add(
            "cells",
            **{**cell_columns(cell), **_as_found(cell, found)},
            page_table_bytes=found.page_table_bytes,
            page_table_source="VmPTE",
            page_table_noise_bytes=_other_growth(found, self._geometry),
            data_bytes=found.data_bytes,
            minor_faults=found.minor_faults,
            basis="measured",
            **medians,
        )
        key = {"cell": cell.digest, "repeat": cell.repeat}
        self._objects(key, found, rows)
        for name, readings in found.after.items():
            rows.add("groups", **key, group=name, role=name, processes=len(readings), machine=cell.machine)
        for phase, timing in times.items():
            if timing is not None and len(timing.each_ns):
                _phase(key, next(iter(found.after)), phase, timing, rows)
        machine = Figure("machine_page_table_growth", float(found.machine_bytes), "B", "lower")
        for one in (*found.figures, machine):
            rows.add("figures", **key, figure=one.name, value=one.value, unit=one.unit, better=one.better)

    def _objects(self, key: Mapping[str, Any], found: Observation, rows: Rows) -> None:
        """A row of `regions` for each watched object: tables by the populated places, put down to it wherever they are."""
        names: dict[str, list[tuple[Reading, int]]] = {}
        for one in (one for group in found.after.values() for one in group):
            for name, use in one.objects.items():
                slots = (np.empty(0, np.int64), use.slots) if one.huge else (use.slots, np.empty(0, np.int64))
                pte = len(slots[0]) * self._geometry.page
                names.setdefault(name, []).append((one, pte))
        for name, uses in sorted(names.items()):
            rows.add(
                "regions",
                **key,
                region=Path(name).name or name,
                backing=name,
                region_bytes=max(one.objects[name].mapped_bytes for one, _ in uses),
                mappers=len(uses),
                pte_table_bytes=sum(pte for _, pte in uses),
            )

    def _predicted(self, cell: Cell, seen: Mapping[str, Observation], rows: Rows) -> None:
        """Count what was seen under the mechanism's own run, else what was seen under the first that ran."""
        if not seen:
            raise CapabilityError("it is predicted from what is watched of the program, which did not run")
        own = seen.get(cell.point.mechanism)
        found = own or next(iter(seen.values()))
        workload, offset = observed_workload(
            cell.point.workload, found.after, by_object=own is None, geometry=self._geometry
        )
        result = account(replace(cell.point, workload=workload, offset=offset), self._geometry)
        # As it is mapped, the upper tables lie among those of the program's other mappings: these are no cost of the memory.
        anyway = _tables_anyway(found, self._geometry) if own is not None else [0, 0, 0]
        counted = (result.tables.pte, result.tables.pmd, result.tables.pud)
        pte, pmd, pud = (max(0, one - there) * result.page for one, there in zip(counted, anyway, strict=True))
        rows.add(
            "cells",
            **{**cell_columns(cell), **_as_found(cell, found)},
            page_table_bytes=pte + pmd + pud,
            pte_table_bytes=pte,
            pmd_table_bytes=pmd,
            pud_table_bytes=pud,
            page_table_source="model",
            basis="conditioned",
        )


def _as_found(cell: Cell, found: Observation) -> dict[str, int]:
    """Columns of what only the run can tell, for a program of which nothing is known before."""
    if cell.point.workload.main != "observed":
        return {}
    readings = [one for group in found.after.values() for one in group]
    sizes: dict[str, int] = {}
    for one in readings:
        for name, use in one.objects.items():
            sizes[name] = max(sizes.get(name, 0), use.mapped_bytes)
    return {"processes": len(readings), "region_bytes": sum(sizes.values())}


def _other_growth(found: Observation, geometry: Geometry) -> int:
    """Bytes by which tables of mappings that are not watched grew between the readings."""
    known = {one.pid: one for group in found.before.values() for one in group}
    grown = 0
    for one in (one for group in found.after.values() for one in group):
        first = known.get(one.pid)
        if first is not None:
            grown += one.vmpte_bytes - _watched_bytes(one, geometry)
            grown -= first.vmpte_bytes - _watched_bytes(first, geometry)
    return abs(grown)


def _watched_bytes(one: Reading, geometry: Geometry = X86_64) -> int:
    return sum(one.watched_tables(geometry)) * geometry.page


def _tables_anyway(found: Observation, geometry: Geometry) -> list[int]:
    """Tables of each level that the watched memory needs and that the processes have anyway, over all processes."""
    readings = [one for group in found.after.values() for one in group]
    return [sum(level) for level in zip(*(one.tables_anyway(geometry) for one in readings), strict=True)]


def _phase(key: Mapping[str, Any], group: str, phase: str, timing: Timing, rows: Rows) -> None:
    each = np.array(timing.each_ns, np.float64)
    p50, p95, p99 = np.quantile(each, (0.5, 0.95, 0.99))
    rows.add(
        "phases",
        **key,
        group=group,
        phase=phase,
        order=PHASES.index(phase),
        p50_ns=float(p50),
        p95_ns=float(p95),
        p99_ns=float(p99),
        max_ns=float(each.max()),
        sum_ns=float(each.sum()),
        wall_ns=float(timing.wall_ns),
    )
