"""Set up the arrays of the compiled model, run it, read the counters."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.mmu import LINE_BYTES, PAGE_BYTES, Cache, Mmu, Tlb
from mshare_bench.sim.mmu.reference_streams import seed_of
from mshare_bench.sim.mmu.result import MmuCounts, ProcessCounts
from mshare_bench.sim.mmu.scenario import Scenario, check_against, data_line, table_lines, table_start
from mshare_bench.sim.mmu.streams import Kind, Trace, number_stream

if TYPE_CHECKING:
    from mshare_bench.sim.mmu.kernels import Plan

__all__ = ["simulate"]

_LANES = 16
# Lanes left free between arrays. Without them the rows that one line uses in L1D, L2 and L3 lie 4 KiB multiples apart, and
# the host takes a load of one for a load of what it has just stored to another.
_SKEW = 20 * _LANES


def _width(ways: int) -> int:
    return -(-ways // _LANES) * _LANES


class _Layout:
    """Hands out lanes: first the tagged arrays of a core, then its caches; the L3s come after the last core."""

    def __init__(self) -> None:
        self.end = 0
        self.tagged: list[tuple[int, int, int]] = []

    def add(self, rows: int, ways: int, tagged: bool = True) -> int:
        start = self.end
        self.end += rows * _width(ways) + _SKEW
        if tagged:
            self.tagged.append((start, rows, _width(ways)))
        return start


def _bits(sets: int) -> int:
    return sets.bit_length() - 1


def _tlb_numbers(prefix: str, starts: dict[Tlb, int], tlb: Tlb | None) -> dict[str, int]:
    if tlb is None:
        return dict.fromkeys((prefix, f"{prefix}_mask", f"{prefix}_width", f"{prefix}_ways"), 0)
    return {
        prefix: starts[tlb],
        f"{prefix}_mask": tlb.sets - 1,
        f"{prefix}_width": _width(tlb.ways),
        f"{prefix}_ways": tlb.ways,
    }


def _plan(scenario: Scenario, mmu: Mmu, key_bits: int) -> "tuple[Plan, NDArray[np.int64], NDArray[np.int64]]":
    """The plan, the tagged arrays (first lane, rows, width) and the page-walk caches by level."""
    from mshare_bench.sim.mmu.kernels import Plan

    layout = _Layout()
    l1 = {tlb: layout.add(tlb.sets, tlb.ways) for tlb in mmu.l1}
    stlb = {tlb: layout.add(tlb.sets, tlb.ways) for tlb in mmu.stlb}
    walk_caches = np.zeros((6, 4), np.int64)
    for cache in mmu.page_walk_caches:
        walk_caches[cache.level] = (layout.add(cache.sets, cache.ways), cache.sets - 1, _width(cache.ways), cache.ways)
    tagged_lanes = layout.end
    caches: dict[str, int] = {}
    for name, level in zip(("l1d", "l2"), mmu.caches[:2], strict=True):
        caches[name] = layout.add(level.sets * level.slices if scenario.caches else 0, level.ways, tagged=False)
        caches |= _cache_numbers(name, level)
    l3 = mmu.caches[2]
    page, huge = scenario.page, scenario.huge_page if scenario.huge else scenario.page
    plan = Plan(
        quantum=scenario.quantum,
        tags=("none", "pcid", "group").index(scenario.tags),
        pcids=scenario.pcids,
        key_bits=key_bits,
        levels=scenario.levels,
        huge_bytes=scenario.huge,
        base_shift=_bits(page),
        huge_shift=_bits(huge),
        base_leaf=PAGE_BYTES.index(page) + 1,
        huge_leaf=PAGE_BYTES.index(huge) + 1,
        **_tlb_numbers("l1_base", l1, mmu.l1_for(page)),
        **_tlb_numbers("l1_huge", l1, mmu.l1_for(huge)),
        **_tlb_numbers("stlb_base", stlb, mmu.stlb_for(page)),
        **_tlb_numbers("stlb_huge", stlb, mmu.stlb_for(huge)),
        core_lanes=layout.end,
        tagged_lanes=tagged_lanes,
        **caches,
        l3=layout.end * len(scenario.core_nodes),
        **_cache_numbers("l3", l3),
        l3_slices=l3.slices,
        l3_lanes=l3.sets * l3.slices * _width(l3.ways) if scenario.caches else 0,
    )
    return plan, np.array(layout.tagged, np.int64), walk_caches


def _cache_numbers(name: str, cache: Cache) -> dict[str, int]:
    return {f"{name}_bits": _bits(cache.sets), f"{name}_width": _width(cache.ways), f"{name}_ways": cache.ways}


def _empty_lanes(count: int) -> NDArray[np.uint32]:
    """`count` empty lanes that start on a cache line of the host, so that a row never lies across two."""
    raw = np.full(count + _LANES, 0xFFFFFFFF, np.uint32)
    skip = -raw.ctypes.data % LINE_BYTES // raw.itemsize
    return raw[skip : skip + count]


def _traces(scenario: Scenario) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All traces one after another, and where each process's begins and ends; a trace that several replay is there once."""
    spans = np.zeros((scenario.processes, 2), np.int64)
    begins: dict[int, int] = {}
    parts: list[NDArray[np.int64]] = []
    for process in range(scenario.processes):
        stream = scenario.stream_of(process)
        if isinstance(stream, Trace):
            if id(stream) not in begins:
                begins[id(stream)] = sum(part.size for part in parts)
                parts.append(stream.addresses)
            begin = begins[id(stream)]
            spans[process] = (begin, begin + stream.addresses.size)
    return np.concatenate(parts) if parts else np.zeros(1, np.int64), spans


class _Run:
    """The arrays of one simulation, in the order in which the compiled functions take them."""

    def __init__(self, scenario: Scenario, mmu: Mmu) -> None:
        from mshare_bench.sim.mmu.kernels import COUNTERS

        plan, tagged, walk_caches = _plan(scenario, mmu, check_against(scenario, mmu))
        cores, processes = len(scenario.core_nodes), scenario.processes
        nodes = sorted(set(scenario.core_nodes))
        members = [[p for p in range(processes) if scenario.core_of(p) == core] for core in range(cores)]
        member_array = np.zeros((cores, max(len(row) for row in members)), np.int64)
        for core, row in enumerate(members):
            member_array[core, : len(row)] = row
        kinds, numbers, stream_tables, seeds, states = _streams(scenario)
        self.counters = np.zeros((processes, COUNTERS), np.int64)
        self.before: tuple[Any, ...] = (plan, _empty_lanes(plan.l3 + plan.l3_lanes * len(nodes)))
        self.after: tuple[Any, ...] = (
            member_array,
            np.array([len(row) for row in members], np.int64),
            np.array([plan.l3 + nodes.index(node) * plan.l3_lanes for node in scenario.core_nodes], np.int64),
            tagged,
            walk_caches,
            np.array([scenario.shared_levels >= level - 1 for level in range(6)]),
            _first_lines(scenario),
            np.array([-1 if (d := scenario.domain_of(p)) is None else d for p in range(processes)], np.int64),
            kinds,
            numbers,
            stream_tables,
            *_traces(scenario),
            seeds,
            states,
            np.zeros(processes, np.int64),
            np.full((cores, scenario.pcids), -1, np.int64),
            np.zeros(cores, np.int64),
            np.zeros(cores, np.int64),
            np.full(cores, -1, np.int64),
            self.counters,
        )


def _first_lines(scenario: Scenario) -> NDArray[np.int64]:
    """First line of each process's data (column 0), and of the table of each level (1 to 5) that its walks read."""
    offsets, lines = table_lines(scenario)
    starts = np.zeros((scenario.processes, 6), np.int64)
    for process in range(scenario.processes):
        starts[process, 0] = data_line(scenario, process)
        for level, offset in enumerate(offsets, start=1):
            owner = scenario.table_owner(process, level)
            starts[process, level] = table_start(scenario) + owner * lines + offset
    return starts


def simulate(scenario: Scenario, mmu: Mmu) -> MmuCounts:
    """Simulate a scenario on a geometry with the compiled model.

    The interpreter lock is released while it runs: simulations in several threads run side by side. The first call in a
    fresh installation compiles (a few seconds); the result is cached on disk.

    Raises
    ------
    ConfigError
        The scenario does not fit the geometry (a page size without a TLB, a NUMA distance without a latency, numbers that
        do not fit 32 bits).
    """
    from mshare_bench.sim.mmu.kernels import DATA, L1_MISSES, TABLES, WALKS, run_everything, run_tlbs

    run = _Run(scenario, mmu)
    kernel = run_everything if scenario.caches else run_tlbs
    if scenario.warmup:
        kernel(*run.before, scenario.warmup, *run.after)
        run.counters[:] = 0
    kernel(*run.before, scenario.warmup + scenario.accesses, *run.after)

    def four(row: list[int]) -> tuple[int, int, int, int]:
        return row[0], row[1], row[2], row[3]

    return MmuCounts(
        tuple(
            ProcessCounts(
                accesses=scenario.accesses,
                l1_misses=(row[L1_MISSES], row[L1_MISSES + 1]),
                walks=(row[WALKS], row[WALKS + 1]),
                table_references=tuple(four(row[TABLES + 4 * level :]) for level in range(5)),
                data_references=four(row[DATA:]),
            )
            for row in run.counters.tolist()
        )
    )


def _streams(scenario: Scenario) -> tuple[NDArray[Any], ...]:
    """Kinds, numbers, tables, traces (one after another), seeds and states, by process."""
    kinds = np.zeros(scenario.processes, np.int64)
    numbers = np.zeros((scenario.processes, 8), np.uint64)
    streams = [number_stream(scenario.stream_of(p), scenario.region, p) for p in range(scenario.processes)]
    rows = max(1, *(len(stream.first) for stream in streams), 0)
    tables = np.zeros((scenario.processes, rows, 4), np.uint32)
    seeds = np.array([seed_of(scenario.seed, process) for process in range(scenario.processes)], np.uint64)
    states = np.zeros(scenario.processes, np.uint64)
    for process, stream in enumerate(streams):
        kinds[process] = stream.kind
        numbers[process, : len(stream.numbers)] = stream.numbers
        for column, values in enumerate((stream.first, stream.count, stream.cut, stream.other)):
            tables[process, : len(values), column] = values
        if stream.kind is Kind.POINTER_CHASE:
            states[process] = int(seeds[process]) & stream.numbers[2]
    return kinds, numbers, tables, seeds, states
