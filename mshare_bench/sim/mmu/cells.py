"""The MMU's part of a simulated cell: what its processes' accesses cost in TLB misses and page walks.

A cell becomes *scenes*: one for each cohort and region that it touches. A scene is the touch phase as the MMU sees it: some of
the cohort's processes, time-sliced, each making as many accesses as it touches pages (times `passes`), by a stream of the
touched pages' pattern:

- pages in a progression (dense, sparse, stride, slices of ranks): the same pages in the same order as the agent touches them;
- pages at random: uniform over the region, for `access=zipf` by its popularity, for `access=hotset` hot and cold ones in the
  share that they have; a popular page comes again, which in the agent's touch phase no page does.

Processes share what the mechanism shares: the lines of shared tables are one for all, those of private tables one set each.
Regions and cohorts do not evict each other: the touch phase goes through them one after the other. A scene that occurs twice is
simulated once. Its counts are scaled up to all accesses and processes: the first process as it is, for it brings in what all
share, the others by their mean. (Where a random pattern meets cold lines of shared tables, all bring them in, and scaling counts
these too often: an upper bound.)
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.mmu import Mmu
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.workload import Cohort, Touch
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import Extent, Traits
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.mmu.result import MmuCost, MmuCounts, price
from mshare_bench.sim.mmu.scenario import Scenario, quantum_accesses
from mshare_bench.sim.mmu.simulate import simulate
from mshare_bench.sim.mmu.streams import HotCold, Sequential, Stream, Trace, Uniform, Zipf, stream_from_mapping
from mshare_bench.sim.mmu.trace import load_traces
from mshare_bench.sim.tables import Mapped

__all__ = ["MmuFigures", "Scene", "check_inputs", "mmu_figures", "scenes_of"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A simulation, and what it stands for.

    Attributes
    ----------
    processes
        Processes that share, in all its instances together; the scenario has some of those of one instance.
    instances
        Separate copies of the region, each with sharers of its own.
    accesses
        Accesses of each process.
    """

    scenario: Scenario
    processes: int
    instances: int
    accesses: int

    @property
    def whole(self) -> bool:
        """Whether everything is simulated, so that nothing is scaled."""
        made = self.scenario
        return self.instances == 1 and (self.processes, self.accesses) == (made.processes, made.accesses)

    def total(self, amounts: Sequence[float]) -> float:
        """Scale amounts of the simulated processes up to all processes and accesses."""
        first, others = amounts[0], amounts[1:]
        each = sum(others) / len(others) if others else first
        return (
            (self.instances * first + (self.processes - self.instances) * each) * self.accesses / self.scenario.accesses
        )


@dataclass(frozen=True, slots=True)
class MmuFigures:
    """The MMU's columns of a row.

    Attributes
    ----------
    tlb_misses, walk_cycles
        Over all processes, in their touch phase.
    sampled
        Whether they were scaled up from fewer processes or accesses.
    """

    tlb_misses: float
    walk_cycles: float
    sampled: bool


def mmu_figures(cell: Cell, geometry: Geometry = X86_64, remote: float | None = None) -> MmuFigures | None:
    """Simulate what a cell's MMU sees; None where the cell names none.

    Parameters
    ----------
    remote
        Share of walks that go to a table on another node, where the cell is placed: these pay the latency of one hop.

    Raises
    ------
    ConfigError
        For what the MMU or the model can't do: a page size without a TLB, a region beyond its keys, a wrong trace.
    """
    if cell.mmu is None:
        return None
    misses = cycles = 0.0
    sampled = False
    if remote:
        cell.mmu.geometry.memory_cycles(1)  # says so where the geometry has no such latency
    for scene in scenes_of(cell.point, cell.mmu, geometry, cell.seed):
        counts, near, far = _simulated(scene.scenario, cell.mmu.geometry)
        misses += scene.total([sum(process.walks) for process in counts.processes])
        for cost, share in ((near, 1.0 - (remote or 0.0)), (far, remote or 0.0)):
            if share and cost is not None:
                cycles += share * scene.total([process.walk_cycles for process in cost.processes])
        sampled |= not scene.whole
    return MmuFigures(misses, cycles, sampled)


def check_inputs(cell: Cell) -> None:
    """Check the stream that a cell names, or read its trace and hold it against the cell's region.

    Raises
    ------
    ConfigError
        For a stream or a parameter that there is not; for a trace's column that is missing, an address outside the region, a
        workload of several regions.
    """
    if cell.mmu is not None and cell.mmu.trace:
        _traces(cell.point, cell.mmu)
    elif cell.mmu is not None and cell.mmu.stream:
        _named_stream(cell.mmu)


def scenes_of(point: Point, setting: MmuSetting, geometry: Geometry = X86_64, seed: int = 0) -> Iterator[Scene]:
    """Make the scenes of a point, in the order of groups, cohorts and touches."""
    made = setting_of(point, geometry)
    by_name = {one.placed.region.name: one for one in made.mapped}
    for group in point.workload.groups:
        for cohort in group.cohorts:
            everything = sum(touch.touched.count for touch in cohort.touches)
            for touch in cohort.touches:
                if touch.touched.count and cohort.processes:
                    share = touch.touched.count / everything
                    yield _scene(
                        point, setting, cohort, touch, by_name[touch.region], made.traits, share, geometry, seed
                    )


def _scene(
    point: Point,
    setting: MmuSetting,
    cohort: Cohort,
    touch: Touch,
    one: Mapped,
    traits: Traits,
    share: float,
    geometry: Geometry,
    seed: int,
) -> Scene:
    instances = min(one.placed.region.instances, cohort.processes)
    processes = min(-(-cohort.processes // instances), setting.sample_processes)
    wanted = touch.touched.count * setting.passes
    streams: tuple[Stream, ...]
    if setting.trace:
        traces = _traces(point, setting)[:processes]
        streams, wanted = traces, max(trace.addresses.size for trace in traces)
        processes = len(traces) if len(traces) > 1 else processes
    elif setting.stream:
        streams = (_named_stream(setting),)
    else:
        streams = (_stream(point, touch, geometry),)
    accesses = max(1, min(wanted, round(setting.sample_accesses * share)))
    shared = _shared_levels(touch, one.extents, traits, geometry)
    scenario = Scenario(
        processes=processes,
        accesses=accesses,
        streams=streams,
        quantum=quantum_accesses(setting.quantum_ns, setting.access_ns),
        # Threads of one address space run under one tag, whatever tags there are.
        tags="group" if traits.one_mm else setting.tags,
        domains=() if shared else (None,) * processes,
        shared_levels=shared,
        levels=geometry.levels,
        core_nodes=(0,) * min(setting.cores, processes),
        private_data=_private(touch, traits),
        seed=seed,
        **_pages(one, streams[0], accesses, touch),
    )
    return Scene(scenario, cohort.processes, instances, wanted)


def _stream(point: Point, touch: Touch, geometry: Geometry) -> Stream:
    """The stream of the touched pages' pattern."""
    runs = [run for run in touch.touched.runs if run.count]
    if all(run.whole for run in runs) or touch.stride:
        # Of a slice per process every other is skipped, as the agent skips it: the mean distance from page to page.
        step = runs[0].step if runs[0].whole else max(1, touch.stride // touch.touched.count)
        size = point.workload.region(touch.region).size
        return Sequential(min(step * geometry.page, size), touch.stride * geometry.page)
    pattern = point.access if touch.region == point.workload.main else None
    if pattern is not None and pattern.kind == "zipf":
        return Zipf(pattern.skew, geometry.page)
    if len(runs) > 1 and runs[0].whole:
        return HotCold(runs[0].count * geometry.page, runs[0].count / touch.touched.count)
    return Uniform()


def _named_stream(setting: MmuSetting) -> Stream:
    return stream_from_mapping({"kind": setting.stream, **dict(setting.stream_params)})


def _pages(one: Mapped, stream: Stream, accesses: int, touch: Touch) -> dict[str, Any]:
    """Region and pages of a scene; of a region that is walked through once, no more than what is reached."""
    sizes = sorted({extent.page for extent in one.extents})
    size = one.placed.region.size
    huge = sum(extent.length for extent in one.extents if extent.page == sizes[-1]) if len(sizes) > 1 else 0
    if isinstance(stream, Sequential) and not touch.stride:
        reached = -(-accesses * stream.step // sizes[-1]) * sizes[-1]
        size, huge = min(size, max(reached, sizes[-1])), min(huge, reached)
    return {"region": size, "page": sizes[0], "huge": huge, "huge_page": sizes[-1] if huge else max(2 << 20, sizes[-1])}


def _shared_levels(touch: Touch, extents: tuple[Extent, ...], traits: Traits, geometry: Geometry) -> int:
    """How many table levels, from the leaves up, the mappers have in common, in the extent that holds most of the region."""
    if traits.one_mm:
        return geometry.levels - 1
    if traits.inherited == "shared":
        return int(not touch.written.count)  # a table is shared until somebody writes through it
    shared = max(extents, key=lambda extent: extent.length).shared
    return max((level + 1 for level in shared), default=0)


def _private(touch: Touch, traits: Traits) -> bool:
    """Whether the data that a process accesses is its own."""
    if traits.data == "copy_on_write":
        return 2 * touch.written.count > touch.touched.count
    return traits.data == "private"


def _traces(point: Point, setting: MmuSetting) -> tuple[Trace, ...]:
    regions = point.workload.regions
    if len(regions) > 1:
        names = ", ".join(region.name for region in regions)
        raise ConfigError(f"mmu.trace={setting.trace}: is of one region; workload={point.workload.name} has {names}")
    return _loaded(setting.trace, setting.trace_digest, regions[0].size, setting.trace_base)


@functools.lru_cache(maxsize=8)
def _loaded(path: str, _digest: str, region: int, base: int) -> tuple[Trace, ...]:
    return load_traces(Path(path), region, base)


@functools.lru_cache(maxsize=1024)
def _simulated(scenario: Scenario, mmu: Mmu) -> tuple[MmuCounts, MmuCost, MmuCost | None]:
    """Counts, their price with all tables at home, and with all of them one hop away, if the geometry knows how far that is."""
    counts = simulate(scenario, mmu)
    away = replace(scenario, table_nodes=(1,) * scenario.processes, domain_nodes=(1,))
    return counts, price(counts, scenario, mmu), price(counts, away, mmu) if len(mmu.memory_ns) > 1 else None
