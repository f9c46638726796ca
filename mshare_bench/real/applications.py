"""The engine of real applications: starts a program, watches it, stops it; predicts it from what was watched.

A cell of engine `real` runs the program's driver under the kernel's counters. A cell of engine `sim` of the same point is the
simulator's count for the **measured access pattern**: which 2 MiB stretches each process has populated (basis `conditioned`). So
the two rows say whether the kernel's own count of tables follows from what the processes touch; and rows of mechanisms that the
program can't be started with say what the same pattern would cost with them.

What is measured is how much ``VmPTE`` has grown since the processes had touched as little of the memory as can be (with what they
had touched by then), added up over the processes, less what their other mappings grew by meanwhile, which is a figure of its
own. `VmPTE` shows a PMD table of hugetlb that the kernel shares at every sharer: the map counts of frames say how many there are,
and the others are taken off. Processes that were not there before are counted without the tables of their other mappings.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from mshare_bench.real.engine import resized, touched_pages
from mshare_bench.real.guard import DEFAULT_RESERVE_BYTES, Need, guard
from mshare_bench.real.knobs import Knob, More, knobs, knobs_set, nr_hugepages, restore_stale
from mshare_bench.real.observe import Reading, observe, observed_workload, resident_bytes, tables_of
from mshare_bench.real.private_folder import private_folder
from mshare_bench.real.servers import Servers
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES
from mshare_bench.sim.accounting import Account, account
from mshare_bench.workloads.registry import workloads

__all__ = ["ApplicationEngine", "Audited", "AuditedObject", "Observation", "has_driver", "takes"]

_PROCESS_BYTES = 12 << 20
"""What a process of an application takes beside the memory that is the matter: a backend, an interpreter."""


def has_driver(workload: str) -> bool:
    """Whether a workload is a real program."""
    spec = workloads().get(workload)
    return spec is not None and spec.driver is not None


def takes(engine: str, model: str) -> bool:
    """Whether cells of real programs are this engine's: those that are run, and those predicted from what is watched."""
    return engine == "real" or model.startswith(ApplicationEngine.model)


@dataclass(frozen=True, slots=True)
class AuditedObject:
    """An object that processes map, as an audit sees it: name, kind, how many map it, bytes mapped and bytes of tables."""

    name: str
    kind: str
    mappers: int
    mapped_bytes: int
    table_bytes: int


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit of the processes of a program.

    Attributes
    ----------
    objects
        What several of them map.
    attributed
        The share of their tables that all objects and private memory explain.
    counted_again_bytes
        PMD tables of hugetlb that the kernel shares, less one of each: `VmPTE` counts them at every sharer. None where there
        are some and the frames' map counts, which tell how many, may not be read.
    """

    objects: Sequence[AuditedObject]
    attributed: float
    counted_again_bytes: int | None = 0


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
    times
        How long phases took, by name.
    figures
        What the application says of itself.
    families
        Of programs that fork: what each parent had before, and how many processes have a copy of it, itself among them.
    objects
        What the tables are for, as an audit of these processes puts them down.
    counted_again_bytes
        As in `Audited`; 0 without an audit.
    """

    before: Mapping[str, Sequence[Reading]]
    after: Mapping[str, Sequence[Reading]]
    data_bytes: int
    machine_bytes: int
    times: Mapping[str, Timing]
    figures: Sequence[Figure]
    families: Sequence[tuple[Reading, int]] = ()
    objects: Sequence[AuditedObject] = ()
    counted_again_bytes: int | None = 0

    @property
    def page_table_bytes(self) -> int | None:
        """Tables that the watched memory costs, a shared one once: by the kernel's count of each process, and map counts."""
        if self.counted_again_bytes is None:
            return None
        known = {one.pid: one for group in self.before.values() for one in group}
        total = 0
        for one in (one for group in self.after.values() for one in group):
            first = known.get(one.pid)
            if first is None:
                total += _watched_bytes(one)
            else:
                total += one.vmpte_bytes - first.vmpte_bytes + _watched_bytes(first)
                total -= _other_bytes(one) - _other_bytes(first)
        return total - self.counted_again_bytes

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
    audit
        Audits processes by their pids; None for no rows of `regions`.
    """

    name = "real"
    model = "application-1"

    def __init__(
        self,
        reserve: int = DEFAULT_RESERVE_BYTES,
        timeout: float = 120.0,
        root: Path | None = None,
        geometry: Geometry = X86_64,
        audit: Callable[[Sequence[int]], Audited] | None = None,
    ) -> None:
        self._audit = audit
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
            rows, started = Rows(), float(time.time_ns())
            key = (cell.point.baseline_digest, cell.repeat)
            try:
                if cell.engine == "real":
                    seen[*key, cell.point.mechanism] = found = self._observe(cell.point)
                    self._measured(cell, found, rows)
                    rows.fill("cells", started_ns=started)
                else:
                    self._predicted(cell, {name: one for (*own, name), one in seen.items() if tuple(own) == key}, rows)
            except (CapabilityError, ConfigError, GuardError) as error:
                rows = Rows()
                rows.add("cells", **cell_columns(cell, "skipped", str(error)))
            except CellFailed as error:
                rows = Rows()
                rows.add("cells", **cell_columns(cell, "void", str(error)))
            except OSError as error:  # a process or a socket that went away between two looks
                rows = Rows()
                rows.add("cells", **cell_columns(cell, "void", f"{type(error).__name__}: {error}"))
            yield rows.tables()

    def _need(self, point: Point, expected: Account) -> Need:
        count = point.workload.processes
        data = point.workload.region_bytes
        huge = data if point.page > self._geometry.page else 0
        if expected.traits.merged:  # every copy is there before any is merged
            data = touched_pages(point) * self._geometry.page
        else:
            data *= workloads()[point.workload.name].copies
        return Need(count + 8, data - huge, expected.page_table_bytes, count * _PROCESS_BYTES, huge)

    def _need_of(self, point: Point, processes: int) -> Need:
        one = resized(point, processes)
        return self._need(one, account(one, self._geometry))

    def _observe(self, point: Point) -> Observation:
        spec = workloads()[point.workload.name]
        assert spec.driver is not None
        if spec.mechanisms and point.mechanism not in spec.mechanisms:
            raise CapabilityError(
                f"mechanism={point.mechanism}: {spec.name} can be started with {', '.join(_started_with(point))}"
            )
        restore_stale()  # what a killed run has left set
        needed = guard(lambda processes: self._need_of(point, processes), point.workload.processes, self._reserve)
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
        wanted: dict[Knob, str | int | More] = {}
        for name, value in driver.knobs(stage).items():
            if name == "hugepages":
                wanted[nr_hugepages(stage.page)] = More(value)
            else:
                wanted[knobs()[name]] = value
        return wanted

    def _watch(self, driver: ApplicationDriver, stage: Stage) -> Observation:
        quiet = settle(tolerance_bytes=1 << 20).page_table_bytes
        driver.start(stage)
        attached = driver.attach(stage)
        before = self._read(driver, attached)
        touched = driver.touch(stage)
        after = self._read(driver, touched)
        grown = settle(tolerance_bytes=1 << 20).page_table_bytes - quiet
        data = resident_bytes(touched.pids, driver.watches)
        figures = list(driver.figures(stage))
        audited = self._audit(touched.pids) if self._audit is not None else None
        if audited is not None:
            figures.append(Figure("audit_attributed", audited.attributed, "1", "higher"))
        timings = {"attach": attached.timing, "touch": touched.timing}
        return Observation(
            before,
            after,
            data,
            grown,
            {one.phase or name: one for name, one in timings.items() if one is not None and len(one.each_ns)},
            tuple(figures),
            _families(before, after) if touched.inherited else (),
            audited.objects if audited is not None else (),
            audited.counted_again_bytes if audited is not None else 0,
        )

    def _read(self, driver: ApplicationDriver, watched: Watched) -> dict[str, list[Reading]]:
        once = set(representatives(watched.pids))  # processes that share an address space would count twice
        groups = {name: [pid for pid in pids if pid in once] for name, pids in watched.groups.items()}
        readings = iter(observe([pid for pids in groups.values() for pid in pids], driver.watches, self._geometry))
        return {name: [next(readings) for _ in pids] for name, pids in groups.items()}

    def _measured(self, cell: Cell, found: Observation, rows: Rows) -> None:
        medians = {f"{name}_ns": float(np.median(one.each_ns)) for name, one in found.times.items()}
        rows.add(
            "cells",
            **{**cell_columns(cell), **_as_found(cell, found)},
            page_table_bytes=found.page_table_bytes,
            page_table_source={0: "VmPTE", None: None}.get(found.counted_again_bytes, "VmPTE less map counts"),
            page_table_noise_bytes=0,
            data_bytes=found.data_bytes,
            minor_faults=found.minor_faults,
            basis="measured",
            **medians,
        )
        key = {"cell": cell.digest, "repeat": cell.repeat}
        self._objects(key, found, rows)
        for name, readings in found.after.items():
            rows.add("groups", **key, group=name, role=name, processes=len(readings), machine=cell.machine)
        for phase, timing in found.times.items():
            _phase(key, next(iter(found.after)), phase, timing, rows)
        others = Figure("other_page_table_growth", float(_other_growth(found)), "B", "lower")
        machine = Figure("machine_page_table_growth", float(found.machine_bytes), "B", "lower")
        for one in (*found.figures, others, machine):
            rows.add("figures", **key, figure=one.name, value=one.value, unit=one.unit, better=one.better)

    def _objects(self, key: Mapping[str, Any], found: Observation, rows: Rows) -> None:
        for one in found.objects:
            rows.add(
                "regions",
                **key,
                region=one.name,
                backing=one.kind,
                region_bytes=one.mapped_bytes // max(one.mappers, 1),
                mappers=one.mappers,
                page_table_bytes=one.table_bytes,
            )

    def _counted(self, point: Point, found: Observation, *, by_object: bool) -> tuple[int, ...]:
        """Tables of each level by the simulator; of programs that fork family by family, for they share nothing."""

        def count(groups: Mapping[str, Sequence[Reading]]) -> tuple[int, int, int]:
            workload, offset = observed_workload(point.workload, groups, by_object=by_object, geometry=self._geometry)
            return _counted(account(replace(point, workload=workload, offset=offset), self._geometry))

        if not found.families:
            return count(found.after)
        each = [count({"family": [parent] * copies}) for parent, copies in found.families]
        return tuple(sum(level) for level in zip(*each, strict=True))

    def _predicted(self, cell: Cell, seen: Mapping[str, Observation], rows: Rows) -> None:
        """Count what was seen under the mechanism's own run, else what was seen under the first that ran."""
        if not seen:
            raise CapabilityError(
                f"it is predicted from what is watched of the program with {' or '.join(_started_with(cell.point))}, which did "
                "not run"
            )
        own = seen.get(cell.point.mechanism)
        found = own or next(iter(seen.values()))
        counted = self._counted(cell.point, found, by_object=own is None)
        # As it is mapped, the upper tables lie among those of the program's other mappings: these are no cost of the memory. And
        # what the kernel has in huge pages although nobody asked for them (a file's, in its cache) has no PTE table.
        anyway = _tables_anyway(found, self._geometry) if own is not None else [0, 0, 0]
        page = self._geometry.page
        pte, pmd, pud = (max(0, one - there) * page for one, there in zip(counted, anyway, strict=True))
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


def _started_with(point: Point) -> tuple[str, ...]:
    return workloads()[point.workload.name].mechanisms


def _families(
    before: Mapping[str, Sequence[Reading]], after: Mapping[str, Sequence[Reading]]
) -> list[tuple[Reading, int]]:
    """Parents, and how many processes have a copy of each one's tables: the parent, and a child of every new group."""
    parents = next(iter(before.values()))
    copies = [
        1 + sum(len(group) > at for name, group in after.items() if name not in before) for at in range(len(parents))
    ]
    return list(zip(parents, copies, strict=True))


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


def _counted(result: Account) -> tuple[int, int, int]:
    return result.tables.pte, result.tables.pmd, result.tables.pud


def _other_growth(found: Observation) -> int:
    """Bytes by which tables of mappings that are not watched grew between the readings, by their populated places."""
    known = {one.pid: one for group in found.before.values() for one in group}
    readings = [one for group in found.after.values() for one in group if one.pid in known]
    return sum(_other_bytes(one) - _other_bytes(known[one.pid]) for one in readings)


def _other_bytes(one: Reading, geometry: Geometry = X86_64) -> int:
    return sum(tables_of(one.others, one.other_huge, geometry)) * geometry.page


def _watched_bytes(one: Reading, geometry: Geometry = X86_64) -> int:
    return sum(one.watched_tables(geometry)) * geometry.page


def _tables_anyway(found: Observation, geometry: Geometry) -> list[int]:
    """Tables of each level that the watched memory needs by its pattern, and that are no cost of it, over all processes."""
    readings = [one for group in found.after.values() for one in group]
    if found.families:
        readings = [parent for parent, copies in found.families for _ in range(copies)]
    pte, *upper = (sum(level) for level in zip(*(one.tables_anyway(geometry) for one in readings), strict=True))
    return [pte + sum(len(one.huge_slots) for one in readings), *upper]


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
