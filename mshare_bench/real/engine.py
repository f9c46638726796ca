"""The real engine: process groups on the running kernel, measured by the kernel's own counters."""

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.ports import Estimate, Part, Share, Tables
from mshare_bench.domain.units import MIB, format_size
from mshare_bench.errors import CapabilityError, CellFailed, ConfigError, GuardError
from mshare_bench.mechanisms.contract import Mechanism, Recipe, Traits
from mshare_bench.real.agent.protocol import Spawn
from mshare_bench.real.cgroups import MemoryGroup, memory_cgroup
from mshare_bench.real.guard import AGENT_BYTES, DEFAULT_RESERVE_BYTES, Need, guard
from mshare_bench.real.knobs import Knob, More, knobs, knobs_set, nr_hugepages
from mshare_bench.real.machine_wide import counts_pud_pages, page_table_noise
from mshare_bench.real.measure import Measurement, Times, measure
from mshare_bench.real.moves import add_moved, way_of
from mshare_bench.real.placed import add_measured, data_written, place_data, seat, seated_point
from mshare_bench.real.probes import require
from mshare_bench.real.programs import Backed, cast, close_backings, open_backings, present_pages
from mshare_bench.real.quantiles import QUANTILES, median, spread
from mshare_bench.real.shares import combined, parts_of
from mshare_bench.real.warmth import remember, warmth
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES, TIMED_PHASES
from mshare_bench.sim.accounting import Account, account, mechanism_of
from mshare_bench.sim.places import Places
from mshare_bench.sim.tables import mappers

__all__ = ["RealEngine", "RealOptions", "fill", "knobs_of", "needs_of", "resolve_arguments"]

_SPAWN = {"fork": Spawn.FORK, "clone_vm": Spawn.CLONE_VM, "thread": Spawn.THREAD}


@dataclass(frozen=True, slots=True)
class RealOptions:
    """Where and how, not what: none of it is a coordinate.

    Attributes
    ----------
    reserve
        Bytes of memory that must stay free (`guard.reserve`).
    parallel
        Processes that run at a time, on as many CPUs; None: as many as there are CPUs.
    timeout
        Seconds that one phase may take.
    samples
        `all` times of every process, their `quantiles`, or `none`.
    """

    reserve: int = DEFAULT_RESERVE_BYTES
    parallel: int | None = None
    timeout: float = 120.0
    samples: str = "quantiles"


class RealEngine:
    """Runs cells on this machine."""

    name = "real"
    model = "agent-1"

    def __init__(self, options: RealOptions | None = None, geometry: Geometry = X86_64) -> None:
        self._options = options or RealOptions()
        self._geometry = geometry
        self._noise: int | None = None
        self._machine_wide = "PageTables"
        self._begin: Callable[[], None] | None = None

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run every cell; one that can't run here is `skipped`, one that died `void`, each with its reason."""
        for cell in cells:
            yield self.gather(cell).tables()

    def gather(self, cell: Cell) -> Rows:
        """Run one cell and gather its rows, which need no Arrow yet; as `run` says."""
        rows, started = Rows(), float(time.time_ns())
        try:
            self._cell(cell, rows)
            rows.fill("cells", started_ns=started)
        except (CapabilityError, ConfigError, GuardError) as error:
            rows = Rows()
            rows.add("cells", **cell_columns(cell, "skipped", str(error)))
        except CellFailed as error:
            rows = Rows()
            rows.add("cells", **cell_columns(cell, "void", str(error)))
        return rows

    def parts(self, cell: Cell) -> Sequence[Part]:
        """What of a cell runs on which machine of its topology; see `real.shares`."""
        return parts_of(cell, self._geometry)

    def run_part(self, cell: Cell, begin: Callable[[], None]) -> Tables:
        """Run one machine's part, with all samples; `begin` returns at the instant at which its processes may attach."""
        own = RealEngine(replace(self._options, samples="all"), self._geometry)
        own._noise, own._machine_wide, own._begin = self._noise, self._machine_wide, begin
        tables = own.gather(cell).tables()
        self._noise, self._machine_wide = own._noise, own._machine_wide
        return tables

    def combine(self, cell: Cell, shares: Sequence[Share]) -> Tables:
        """Make the rows of a cell from those of its parts."""
        return combined(cell, shares, self._options.samples)

    def estimate(self, cell: Cell) -> Estimate:
        """What a real cell takes: memory by the guard's arithmetic, time by the faults that it will take."""
        try:
            expected = account(cell.point, self._geometry)
        except ConfigError:
            return Estimate(0.0, 0, 0)
        need = self._need(cell.point, expected)
        seconds = 0.5 + cell.point.workload.processes * 0.0005 + expected.total("minor_faults") * 1e-6
        return Estimate(seconds, need.total_bytes, expected.page_table_bytes)

    def _cell(self, cell: Cell, rows: Rows) -> None:
        point = cell.point
        self._refuse(point)
        places = seated_point(point)
        mechanism, expected = mechanism_of(point), account(point, self._geometry)
        self._guard(point)
        recipes = self._recipes(point, mechanism)
        for needed in needs_of(point, self._geometry):
            require(needed)
        shared = not expected.traits.one_mm and self._shares_tables(point, mechanism)
        if shared and self._noise is None:
            self._noise = page_table_noise()
            if counts_pud_pages() is False:
                self._machine_wide = "PageTables, which leaves PUD pages out here"
        took = self._need(point, expected).total_bytes
        memory = warmth(took)
        with knobs_set(knobs_of(point, recipes)), self._cgroup(point, expected) as group:
            with contextlib.ExitStack() as policy:
                if places is not None:
                    policy.enter_context(data_written(places))
                backed = open_backings(point, mechanism, self._geometry)
            try:
                result = self._measure(point, backed, expected, shared, group, places)
            finally:
                close_backings(backed)
        remember(took)
        self._rows(cell, result, expected.traits, shared, memory, places, rows)
        if places is not None and result.moved is not None:
            add_moved({"cell": cell.digest, "repeat": cell.repeat}, places, result.moved, way_of(places), rows)

    def _cgroup(self, point: Point, expected: Account) -> contextlib.AbstractContextManager[MemoryGroup]:
        """A memory cgroup around the agents, the controller outside; where none can be had, one without a path."""
        return memory_cgroup(self._need(point, expected).total_bytes + self._options.reserve // 2)

    def _refuse(self, point: Point) -> None:
        from mshare_bench.workloads.registry import workloads

        reason = workloads()[point.workload.name].simulated_only
        if reason:
            raise CapabilityError(reason)
        if point.machines is not None and point.machines.machines > 1:
            raise CapabilityError(
                f"topology={point.topology}: has {point.machines.machines} machines; executor=ray with cluster.address=HOST:PORT "
                "runs a cell on several"
            )

    def _guard(self, point: Point) -> None:
        """Compare with what is free; the largest count that would fit is found for regions as they are."""

        def need_of(processes: int) -> Need:
            return self._need(point, account(resized(point, processes), self._geometry), processes)

        guard(need_of, point.workload.processes, self._options.reserve)

    def _need(self, point: Point, expected: Account, processes: int | None = None) -> Need:
        count = point.workload.processes if processes is None else processes
        huge = sum(recipe.hugepages > 0 for recipe in self._recipes_or_none(point)) > 0
        data = expected.total("data_bytes")
        if expected.traits.merged:  # every copy is there before any is merged
            of_one = point if count == point.workload.processes else resized(point, count)
            data = touched_pages(of_one) * self._geometry.page
        return Need(
            processes=count + 2,  # the zygote and the populator
            data_bytes=0 if huge else data,
            table_bytes=expected.page_table_bytes,
            process_bytes=(count + 2) * AGENT_BYTES,
            hugepage_bytes=data * _pools(point) if huge else 0,
        )

    def _recipes_or_none(self, point: Point) -> list[Recipe]:
        try:
            return self._recipes(point, mechanism_of(point))
        except CapabilityError:
            return []

    def _recipes(self, point: Point, mechanism: Mechanism) -> list[Recipe]:
        return _recipes(point, mechanism, self._geometry)

    def _shares_tables(self, point: Point, mechanism: Mechanism) -> bool:
        from mshare_bench.domain.workload import placed_regions

        placed = placed_regions(point.workload, point.offset, self._geometry)
        return any(one.shared for each in placed for one in mechanism.extents(each, point.page, self._geometry))

    def _measure(
        self,
        point: Point,
        backed: Sequence[Backed],
        expected: Account,
        shared: bool,
        group: MemoryGroup,
        places: Places | None,
    ) -> Measurement:
        traits = expected.traits
        casting = cast(point, backed, traits)
        seating = None if places is None else seat(places, casting, traits, shared)
        # Fault-around leaves out pages that another process holds locked at that moment: processes that read side by side
        # take more faults than each would alone (seen: 5,286 for 3,072). So they take turns where windows matter.
        windows = expected.total("minor_faults") < touched_pages(point)
        there = point.populate == "controller" or traits.resident
        with contextlib.ExitStack() as policy:
            if places is not None:
                policy.enter_context(data_written(places))
            if there:
                fill(point, backed, all_files=traits.inherited is not None)
            elif places is not None:
                place_data(backed, places)
        return measure(
            casting,
            backed,
            traits,
            _SPAWN[backed[0].recipe.spawn],
            one_by_one=windows or not there or shared or traits.one_mm,
            # What is inherited is there before any child is, and the machine's counter moves by all that a child is.
            system_wide=shared and traits.inherited is None,
            seating=seating,
            cgroup=group.procs,
            oom_kills=group.oom_kills,
            parallel=self._options.parallel,
            timeout=self._options.timeout,
            begin=self._begin,
        )

    def _rows(
        self,
        cell: Cell,
        result: Measurement,
        traits: Traits,
        shared: bool,
        memory: str,
        places: Places | None,
        rows: Rows,
    ) -> None:
        total: int | None = result.vm_pte_bytes
        source = "VmPTE"
        if shared and traits.inherited is None:
            total, source = result.page_tables_bytes, self._machine_wide
        elif shared:
            total, source = result.vm_pte_bytes + result.held_table_bytes, "VmPTE, tables of the region"
        touch = result.phases["touch"]
        columns: dict[str, Any] = {
            "page_table_bytes": total,
            "page_table_source": source if total is not None else None,
            "page_table_noise_bytes": self._noise if source == self._machine_wide else 0,
            "data_bytes": result.data_bytes,
            "metadata_bytes": result.metadata_bytes,
            "minor_faults": int(touch.minor_faults.sum()) + result.parent_faults,
            "linking_faults": result.linking_faults,
            "address_space_bytes": result.address_space_bytes,
            "memory": memory,
            "tlb_misses": result.tlb.misses,
            "walk_cycles": result.tlb.walk_cycles,
            "shootdowns": result.shootdowns,
            "basis": "measured" + "+multiplexed" * result.tlb.multiplexed,
        }
        for phase in TIMED_PHASES:
            # Children that inherit attach nothing; a zero would be no measurement.
            if phase in result.phases and not (phase == "attach" and traits.inherited):
                columns |= median(phase, _own(phase, result.phases[phase], traits))
        rows.add("cells", **cell_columns(cell), **columns)
        self._regions(cell, result, traits, columns, rows)
        self._long_tables(cell, result, places, rows)

    def _regions(self, cell: Cell, result: Measurement, traits: Traits, columns: Mapping[str, Any], rows: Rows) -> None:
        """By region the kernel tells only what is asked of one region alone; else null."""
        regions = cell.point.workload.regions
        backing = mechanism_of(cell.point).name
        if result.pmd_mapped_bytes is not None:
            backing += f", FilePmdMapped {format_size(result.pmd_mapped_bytes)}"
        for region in regions:
            alone = {
                name: columns[name] if len(regions) == 1 else None
                for name in ("page_table_bytes", "data_bytes", "minor_faults")
            }
            rows.add(
                "regions",
                cell=cell.digest,
                repeat=cell.repeat,
                region=region.name,
                backing=backing,
                region_bytes=region.size * region.instances,
                mappers=mappers(cell.point.workload, region.name),
                **alone,
            )

    def _long_tables(self, cell: Cell, result: Measurement, places: Places | None, rows: Rows) -> None:
        key = {"cell": cell.digest, "repeat": cell.repeat}
        # An inherited workload's first process is the parent, which no phase of the children shows.
        start = cell.point.workload.processes - len(result.phases["launch"].duration_ns)
        skipped, start = start, 0
        for number, group in enumerate(cell.point.workload.groups):
            end = start + group.processes - (skipped if number == 0 else 0)
            if places is None:
                who = {"group": group.name, "role": group.role, "processes": group.processes}
                begun = float(result.attach_start_ns) if self._begin is not None else None
                rows.add("groups", **key, **who, machine=cell.machine, start_ns=begun)
            for phase, times in result.phases.items():
                own = times.duration_ns[start:end]
                if not len(own):
                    continue
                rows.add("phases", **key, group=group.name, phase=phase, order=PHASES.index(phase),
                         **_phase(own, times, start, end, first=number == 0))  # fmt: skip
                self._samples({**key, "group": group.name, "phase": phase}, own, rows)
            start = end
        if places is not None:
            add_measured(key, places, result.node_data, result.node_tables, rows)

    def _samples(self, key: Mapping[str, Any], durations: NDArray[np.int64], rows: Rows) -> None:
        if self._options.samples == "all":
            for index, value in enumerate(durations):
                rows.add("samples", **key, process=index, value_ns=float(value))
        elif self._options.samples == "quantiles":
            for mille, value in zip(QUANTILES, np.quantile(durations, np.array(QUANTILES) / 1000), strict=True):
                rows.add("samples", **key, process=mille, value_ns=float(value))


def fill(point: Point, backed: Sequence[Backed], all_files: bool) -> None:
    """Write data to files without a mapping.

    Those of inherited regions, for which the populator would come too late, and those whose tables any mapping would fill.
    """
    chunk = bytes([1]) * MIB
    for one in backed:
        size, pages = one.placed.region.size, present_pages(point, one.placed.region.name)
        for backing in one.instances:
            fd = backing.data_fd if backing.data_fd >= 0 else backing.fd if all_files else -1
            if fd < 0 or backing.mapped_only:
                continue
            if pages is not None:
                for page in pages:
                    os.pwrite(fd, chunk[:1], int(page) * mmap.PAGESIZE)
                continue
            for offset in range(0, size, MIB):
                os.pwrite(fd, chunk[: size - offset], offset)


def _own(phase: str, times: Times, traits: Traits) -> NDArray[np.int64]:
    """Times of those that did it: on one address space the first maps, protects and unmaps for all."""
    first_only = traits.one_mm and phase in ("attach", "protect", "unmap")
    return times.duration_ns[:1] if first_only else times.duration_ns


def resolve_arguments(point: Point) -> dict[str, Any]:
    """What `WorkloadSpec.resolve` is given to make the point's workload again, the access pattern aside; plain values."""
    workload = point.workload
    instances = workload.regions[0].instances > 1
    return {
        "processes": workload.processes,
        "region": sum(region.size * region.instances for region in workload.regions) if instances else None,
        "sizes": {} if instances else {one.name: one.size for one in workload.regions},
        "write_fraction": point.write_fraction,
        "params": dict(workload.params),
    }


def resized(point: Point, processes: int) -> Point:
    """The same point with another number of processes, its regions as they are."""
    from mshare_bench.workloads.registry import workloads

    arguments = {**resolve_arguments(point), "processes": processes}
    return replace(point, workload=workloads()[point.workload.name].resolve(access=point.access, **arguments))


def touched_pages(point: Point) -> int:
    """Pages touched, over all processes."""
    groups = point.workload.groups
    cohorts = [cohort for group in groups for cohort in group.cohorts]
    return sum(cohort.processes * touch.touched.count for cohort in cohorts for touch in cohort.touches)


def needs_of(point: Point, geometry: Geometry = X86_64) -> frozenset[str]:
    """What only trying tells whether it is there (`Recipe.needs`), of all regions of a point.

    Raises
    ------
    CapabilityError
        When the mechanism can't be had for real.
    """
    return frozenset(recipe.needs for recipe in _recipes(point, mechanism_of(point), geometry)) - {""}


def _recipes(point: Point, mechanism: Mechanism, geometry: Geometry) -> list[Recipe]:
    from mshare_bench.domain.workload import placed_regions

    return [mechanism.recipe(one, point.page) for one in placed_regions(point.workload, point.offset, geometry)]


def _pools(point: Point) -> int:
    """The kernel grows the pool of huge pages evenly over the nodes; placed data must find all of its pages on any of them."""
    return 1 if point.machines is None else len(point.machines.machine().nodes)


def knobs_of(point: Point, recipes: Sequence[Recipe]) -> dict[Knob, str | int | More]:
    """Kernel knobs that a point's recipes need, huge pages for all of its regions among them."""
    wanted: dict[Knob, str | int | More] = {}
    pages: dict[int, int] = {}
    for region, recipe in zip(point.workload.regions, recipes, strict=True):
        for name, value in recipe.knobs.items():
            wanted[knobs()[name]] = value
        if recipe.hugepages:
            needed = region.size // recipe.hugepages * region.instances
            pages[recipe.hugepages] = pages.get(recipe.hugepages, 0) + needed * _pools(point)
    return {**wanted, **{nr_hugepages(size): More(count) for size, count in pages.items()}}


def _phase(own: NDArray[np.int64], times: Times, start: int, end: int, first: bool) -> dict[str, Any]:
    return {
        **spread(own),
        "wall_ns": float(times.wall_ns),
        "page_table_bytes": times.page_table_bytes if first else None,
        "minor_faults": int(times.minor_faults[start:end].sum()),
    }
