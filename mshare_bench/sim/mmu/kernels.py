"""The MMU model, compiled: the rules of `reference`, on rows of lanes, without the interpreter lock.

One flat array of 32-bit lanes holds every set of every structure: each core's TLBs and page-walk caches (contiguous, so
that a flush is one fill), its L1D and L2, and each node's L3. Geometry and scenario come as numbers, not as compile-time
constants: the vectors are 16 lanes wide whatever the ways are, so two compiled functions (TLBs only; everything) serve
every geometry and every stream, and are cached on disk.

numba's cache looks at the file of the function that is called from outside, not at those of the functions it calls: the
digest of all three files is a constant of that function and so part of the key.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mshare_bench.sim.mmu import lanes as lanes_module
from mshare_bench.sim.mmu import stream_kernels
from mshare_bench.sim.mmu.lanes import EMPTY, agree, drop_keys, fetch_row, touch
from mshare_bench.sim.mmu.stream_kernels import generate

__all__ = ["COUNTERS", "DATA", "L1_MISSES", "TABLES", "WALKS", "Plan", "run_everything", "run_tlbs"]

# Columns of the counters, one row per process: see `ProcessCounts`
L1_MISSES = 0
WALKS = 2
DATA = 4
TABLES = 8  # four places per level, PTE first
COUNTERS = TABLES + 20

_BLOCK = 256
# Accesses that are compared at once: where all are on one line (or page), only the first of them does anything.
_GROUP = 8
_PAGE_GROUP = 4 * _GROUP
_AHEAD = 8  # accesses between the fetch of a row and its use
_SLICE_HASH = 0x9E3779B1


class Plan(NamedTuple):
    """Everything about a run that does not change, as 64-bit integers; offsets are in lanes.

    `*_base` and `*_huge` are the TLB that holds the region's base and huge pages: first lane (of core 0), mask of the
    set's number, lanes per row, ways (0: there is none).
    """

    quantum: int
    tags: int
    pcids: int
    key_bits: int
    levels: int
    huge_bytes: int
    base_shift: int
    huge_shift: int
    base_leaf: int
    huge_leaf: int
    l1_base: int
    l1_base_mask: int
    l1_base_width: int
    l1_base_ways: int
    l1_huge: int
    l1_huge_mask: int
    l1_huge_width: int
    l1_huge_ways: int
    stlb_base: int
    stlb_base_mask: int
    stlb_base_width: int
    stlb_base_ways: int
    stlb_huge: int
    stlb_huge_mask: int
    stlb_huge_width: int
    stlb_huge_ways: int
    core_lanes: int
    tagged_lanes: int
    l1d: int
    l1d_bits: int
    l1d_width: int
    l1d_ways: int
    l2: int
    l2_bits: int
    l2_width: int
    l2_ways: int
    l3: int
    l3_bits: int
    l3_width: int
    l3_ways: int
    l3_slices: int
    l3_lanes: int


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _refer(lanes: Any, plan: Any, core: int, l3: int, line: int) -> int:
    """Where a line is found: 0 L1D, 1 L2, 2 L3, 3 memory; `core` and `l3` are first lanes."""
    row = line & ((1 << plan.l1d_bits) - 1)
    if touch(lanes, core + plan.l1d + row * plan.l1d_width, plan.l1d_ways, np.uint32(line >> plan.l1d_bits)):
        return 0
    row = line & ((1 << plan.l2_bits) - 1)
    if touch(lanes, core + plan.l2 + row * plan.l2_width, plan.l2_ways, np.uint32(line >> plan.l2_bits)):
        return 1
    above = line >> plan.l3_bits
    part = (((above * _SLICE_HASH) & 0xFFFFFFFF) * plan.l3_slices) >> 32
    row = (part << plan.l3_bits) + (line & ((1 << plan.l3_bits) - 1))
    if touch(lanes, l3 + row * plan.l3_width, plan.l3_ways, np.uint32(above)):
        return 2
    return 3


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _one_page(addresses: Any, begin: int) -> Any:
    """Whether a page group of addresses is on one page of 4 KiB; its end is looked at first, to give up early."""
    return (
        agree(addresses, begin + 3 * _GROUP, begin, 12)
        and agree(addresses, begin + 2 * _GROUP, begin, 12)
        and agree(addresses, begin + _GROUP, begin, 12)
        and agree(addresses, begin, begin, 12)
    )


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _fetch(lanes: Any, plan: Any, l3: int, line: int) -> None:
    """Have the host fetch the row of the L3 that a coming reference will look at: the one array larger than its caches."""
    above = line >> plan.l3_bits
    part = (((above * _SLICE_HASH) & 0xFFFFFFFF) * plan.l3_slices) >> 32
    row = (part << plan.l3_bits) + (line & ((1 << plan.l3_bits) - 1))
    fetch_row(lanes, l3 + row * plan.l3_width)


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _walk(
    lanes: Any,
    plan: Any,
    walk_caches: Any,
    walk_tags: Any,
    tables: Any,
    counters: Any,
    core: int,
    l3: int,
    address: int,
    leaf: int,
) -> None:
    """One page walk; `walk_caches[level]` is (first lane, mask, width, ways), `tables[level]` the table's first line."""
    level = leaf + 1
    while level <= plan.levels:
        ways = walk_caches[level, 3]
        if ways > 0:
            entry = address >> (12 + 9 * (level - 1))
            row = core + walk_caches[level, 0] + (entry & walk_caches[level, 1]) * walk_caches[level, 2]
            if touch(lanes, row, ways, np.uint32(walk_tags[level] | entry)):
                break
        level += 1
    while level > leaf:
        level -= 1
        line = tables[level] + (address >> (15 + 9 * (level - 1)))
        counters[TABLES + 4 * (level - 1) + _refer(lanes, plan, core, l3, line)] += 1


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _consume_tlbs(
    lanes: Any, plan: Any, counters: Any, core: int, tag: int, last: int, addresses: Any, count: int
) -> int:
    l1_base, stlb_base = core + plan.l1_base, core + plan.stlb_base
    l1_huge, stlb_huge = core + plan.l1_huge, core + plan.stlb_huge
    l1_misses = walks = huge_l1_misses = huge_walks = 0
    for begin in range(0, count, _PAGE_GROUP):
        end = min(begin + _PAGE_GROUP, count)
        if end - begin == _PAGE_GROUP and _one_page(addresses, begin):
            end = begin + 1  # the others are on the page that is then the newest
        for k in range(begin, end):
            address = addresses[k]
            if address >= plan.huge_bytes:
                page = address >> plan.base_shift
                if page == last:
                    continue
                last = page
                key = np.uint32(tag | page)
                row = l1_base + (page & plan.l1_base_mask) * plan.l1_base_width
                missed = not touch(lanes, row, plan.l1_base_ways, key)
                l1_misses += missed
                if plan.stlb_base_ways > 0:
                    row = stlb_base + (page & plan.stlb_base_mask) * plan.stlb_base_width
                    missed &= not touch(lanes, row, plan.stlb_base_ways, key)
                walks += missed
            else:
                page = address >> plan.huge_shift
                if page == last:
                    continue
                last = page
                key = np.uint32(tag | page)
                row = l1_huge + (page & plan.l1_huge_mask) * plan.l1_huge_width
                missed = not touch(lanes, row, plan.l1_huge_ways, key)
                huge_l1_misses += missed
                if plan.stlb_huge_ways > 0:
                    row = stlb_huge + (page & plan.stlb_huge_mask) * plan.stlb_huge_width
                    missed &= not touch(lanes, row, plan.stlb_huge_ways, key)
                huge_walks += missed
    counters[L1_MISSES] += l1_misses
    counters[L1_MISSES + 1] += huge_l1_misses
    counters[WALKS] += walks
    counters[WALKS + 1] += huge_walks
    return last


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _consume_everything(
    lanes: Any,
    plan: Any,
    walk_caches: Any,
    walk_tags: Any,
    tables: Any,
    counters: Any,
    core: int,
    l3: int,
    tag: int,
    last: int,
    addresses: Any,
    count: int,
) -> int:
    l1_base, stlb_base = core + plan.l1_base, core + plan.stlb_base
    l1_huge, stlb_huge = core + plan.l1_huge, core + plan.stlb_huge
    data_line = tables[0]
    last_line = -1
    same_line = 0
    for begin in range(0, count, _GROUP):
        end = min(begin + _GROUP, count)
        if end - begin == _GROUP and agree(addresses, begin, begin, 6):
            end = begin + 1
            same_line += _GROUP - 1
        for k in range(begin, end):
            address = addresses[k]
            line = address >> 6
            if line == last_line:  # page and line are the newest of their sets already
                same_line += 1
                continue
            last_line = line
            ahead = addresses[k + _AHEAD]
            if (ahead ^ address) >> 12 != 0:
                _fetch(lanes, plan, l3, data_line + (ahead >> 6))
                _fetch(lanes, plan, l3, tables[1] + (ahead >> 15))
            is_huge = address < plan.huge_bytes
            page = address >> (plan.huge_shift if is_huge else plan.base_shift)
            if page != last:
                last = page
                key = np.uint32(tag | page)
                if is_huge:
                    missed = not touch(
                        lanes, l1_huge + (page & plan.l1_huge_mask) * plan.l1_huge_width, plan.l1_huge_ways, key
                    )
                    counters[L1_MISSES + 1] += missed
                    if plan.stlb_huge_ways > 0:
                        row = stlb_huge + (page & plan.stlb_huge_mask) * plan.stlb_huge_width
                        missed &= not touch(lanes, row, plan.stlb_huge_ways, key)
                    counters[WALKS + 1] += missed
                else:
                    missed = not touch(
                        lanes, l1_base + (page & plan.l1_base_mask) * plan.l1_base_width, plan.l1_base_ways, key
                    )
                    counters[L1_MISSES] += missed
                    if plan.stlb_base_ways > 0:
                        row = stlb_base + (page & plan.stlb_base_mask) * plan.stlb_base_width
                        missed &= not touch(lanes, row, plan.stlb_base_ways, key)
                    counters[WALKS] += missed
                if missed:
                    leaf = plan.huge_leaf if is_huge else plan.base_leaf
                    _walk(lanes, plan, walk_caches, walk_tags, tables, counters, core, l3, address, leaf)
            counters[DATA + _refer(lanes, plan, core, l3, data_line + line)] += 1
    counters[DATA] += same_line
    return last


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _slot_of(lanes: Any, arrays: Any, core_start: int, key_bits: int, slots: Any, turn: Any, process: int) -> Any:
    """The PCID of a process on a core; where it has none, the next in turn, whose entries are dropped."""
    for slot in range(slots.size):
        if slots[slot] == process:
            return slot
    slot = turn[0]
    turn[0] = (slot + 1) % slots.size
    if slots[slot] >= 0:
        for index in range(arrays.shape[0]):
            drop_keys(lanes, core_start + arrays[index, 0], arrays[index, 1], arrays[index, 2], key_bits, slot)
    slots[slot] = process
    return slot


_SOURCES = (__file__, lanes_module.__file__, stream_kernels.__file__)
_DIGEST = int.from_bytes(hashlib.sha256(b"".join(Path(name).read_bytes() for name in _SOURCES)).digest()[:6], "big")


def _build(everything: bool, digest: int) -> Any:
    @njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
    def run(
        plan: Any,
        lanes: Any,
        until: int,
        members: Any,
        member_counts: Any,
        core_l3: Any,
        arrays: Any,
        walk_caches: Any,
        walk_tag_shared: Any,
        tables: Any,
        domains: Any,
        kinds: Any,
        numbers: Any,
        stream_tables: Any,
        traces: Any,
        trace_spans: Any,
        seeds: Any,
        states: Any,
        positions: Any,
        slots: Any,
        turns: Any,
        cursors: Any,
        last_run: Any,
        counters: Any,
    ) -> int:
        """Run every process up to `until` accesses since the beginning; see `simulate` for the arrays."""
        buffer = np.zeros(_BLOCK + _AHEAD, np.int64)
        walk_tags = np.zeros(6, np.int64)
        running = True
        while running:
            running = False
            for core in range(members.shape[0]):
                process = -1
                for _ in range(member_counts[core]):
                    candidate = members[core, cursors[core]]
                    cursors[core] = (cursors[core] + 1) % member_counts[core]
                    if positions[candidate] < until:
                        process = candidate
                        break
                if process < 0:
                    continue
                running = True
                start = core * plan.core_lanes
                slot = 0
                if plan.tags == 0:
                    if last_run[core] != process:
                        lanes[start : start + plan.tagged_lanes] = EMPTY
                else:
                    slot = _slot_of(lanes, arrays, start, plan.key_bits, slots[core], turns[core : core + 1], process)
                last_run[core] = process
                shared_tag = plan.pcids + domains[process]
                grouped = plan.tags == 2 and domains[process] >= 0
                tag = (shared_tag if grouped else slot) << plan.key_bits
                if everything:
                    for level in range(6):
                        shared = grouped and walk_tag_shared[level]
                        walk_tags[level] = (shared_tag if shared else slot) << plan.key_bits
                last = np.int64(-1)
                end = min(until, positions[process] + plan.quantum)
                while positions[process] < end:
                    count = min(_BLOCK, end - positions[process])
                    states[process] = generate(
                        kinds[process],
                        numbers[process],
                        stream_tables[process],
                        traces[trace_spans[process, 0] : trace_spans[process, 1]],
                        seeds[process],
                        states[process],
                        positions[process],
                        count,
                        buffer,
                    )
                    if everything:
                        last = _consume_everything(
                            lanes,
                            plan,
                            walk_caches,
                            walk_tags,
                            tables[process],
                            counters[process],
                            start,
                            core_l3[core],
                            tag,
                            last,
                            buffer,
                            count,
                        )
                    else:
                        last = _consume_tlbs(lanes, plan, counters[process], start, tag, last, buffer, count)
                    positions[process] += count
        return digest

    return run


run_tlbs = _build(False, _DIGEST)
run_everything = _build(True, _DIGEST)
