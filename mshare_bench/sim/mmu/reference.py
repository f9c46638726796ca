"""The MMU model in plain Python, to be read: the rules, and the oracle of the fast one.

For each access of a process on a core:

1. **TLBs.** The L1 dTLB for the page's size and the STLB (where it holds that size) are looked up; the page becomes the
   most recently used entry of its set in both. Hit in either: no walk. The STLB sees every access, not only the misses of
   the L1: with exact LRU that makes each level a stack, which is what ``none >= pcid >= group`` rests on (docstring of
   `Scenario`; a test shows the anomaly of the other rule).
2. **Walk.** Page-walk caches are asked from the level above the leaf upwards until one hits; all that were asked hold the
   entry afterwards. The walk reads one entry per level from there down to the leaf: a reference to a cache line.
3. **Data.** The access itself refers to its line, after the walk.
4. A reference looks in L1D, then L2, then L3, until it hits; each one asked holds the line afterwards as its most recently
   used. Caches neither include nor exclude each other. No prefetching, no write-backs.

Replacement is LRU everywhere. Cores take turns, one quantum each, and go round their unfinished processes in order. A core
that goes on with the process it ran last has not switched. See `table_lines` for where table lines lie.
"""

from collections.abc import Iterator

from mshare_bench.domain.mmu import LINE_BYTES, PAGE_BYTES, Cache, Mmu, Tlb
from mshare_bench.sim.mmu.reference_streams import addresses, seed_of
from mshare_bench.sim.mmu.result import MmuCounts, ProcessCounts
from mshare_bench.sim.mmu.scenario import Scenario, check_against, data_line, table_lines, table_start
from mshare_bench.sim.mmu.streams import Trace, number_stream

__all__ = ["simulate_plainly"]

_SLICE_HASH = 0x9E3779B1


class _Lru:
    """A set-associative array; each set lists its keys, the most recently used first."""

    def __init__(self, sets: int, ways: int) -> None:
        self.ways = ways
        self.rows: list[list[tuple[object, int]]] = [[] for _ in range(sets)]

    def use(self, index: int, key: tuple[object, int]) -> bool:
        row = self.rows[index]
        hit = key in row
        if hit:
            row.remove(key)
        row.insert(0, key)
        del row[self.ways :]
        return hit

    def drop(self, tag: object | None = None) -> None:
        """Forget the entries with this tag, or all."""
        for row in self.rows:
            row[:] = [key for key in row if tag is not None and key[0] != tag]


class _Core:
    """A core's own arrays, and which process has which PCID."""

    def __init__(self, mmu: Mmu, pcids: int) -> None:
        self.l1 = {tlb: _Lru(tlb.sets, tlb.ways) for tlb in mmu.l1}
        self.stlb = {tlb: _Lru(tlb.sets, tlb.ways) for tlb in mmu.stlb}
        self.walk_caches = {cache.level: _Lru(cache.sets, cache.ways) for cache in mmu.page_walk_caches}
        self.private_caches = [(cache, _lines(cache)) for cache in mmu.caches[:2]]
        self.slots: list[int | None] = [None] * pcids
        self.next_slot = 0
        self.next_turn = 0
        self.last: int | None = None

    def tagged(self) -> Iterator[_Lru]:
        yield from (*self.l1.values(), *self.stlb.values(), *self.walk_caches.values())


def _lines(cache: Cache) -> _Lru:
    return _Lru(cache.sets * cache.slices, cache.ways)


def _look_up_line(cache: Cache, array: _Lru, line: int) -> bool:
    above = line // cache.sets
    part = (above * _SLICE_HASH & 0xFFFFFFFF) * cache.slices >> 32
    return array.use(part * cache.sets + line % cache.sets, (None, line))


class _Process:
    def __init__(self, scenario: Scenario, process: int) -> None:
        stream = scenario.stream_of(process)
        numbers = number_stream(stream, scenario.region, process)
        trace = stream if isinstance(stream, Trace) else None
        self.stream = addresses(numbers, seed_of(scenario.seed, process), trace)
        self.done = 0
        self.clear()

    def clear(self) -> None:
        self.accesses = 0
        self.l1_misses = [0, 0]
        self.walks = [0, 0]
        self.tables = [[0] * 4 for _ in range(5)]
        self.data = [0] * 4


class _Model:
    def __init__(self, scenario: Scenario, mmu: Mmu) -> None:
        self.scenario, self.mmu = scenario, mmu
        self.processes = [_Process(scenario, process) for process in range(scenario.processes)]
        self.cores = [_Core(mmu, scenario.pcids) for _ in scenario.core_nodes]
        self.l3 = {node: _lines(mmu.caches[2]) for node in scenario.core_nodes}
        self.table_offsets, self.lines_per_process = table_lines(scenario)

    def run(self, until: int) -> None:
        """Run every process up to `until` accesses since the beginning."""
        while any(process.done < until for process in self.processes):
            for number, core in enumerate(self.cores):
                mine = [p for p in range(self.scenario.processes) if self.scenario.core_of(p) == number]
                for _ in mine:
                    process = mine[core.next_turn]
                    core.next_turn = (core.next_turn + 1) % len(mine)
                    if self.processes[process].done < until:
                        self._switch(core, process)
                        todo = min(self.scenario.quantum, until - self.processes[process].done)
                        self._run_quantum(core, process, todo)
                        break

    def _switch(self, core: _Core, process: int) -> None:
        if core.last == process:
            return
        if self.scenario.tags == "none":
            for array in core.tagged():
                array.drop()
        elif process not in core.slots:
            slot = core.next_slot
            core.next_slot = (slot + 1) % len(core.slots)
            core.slots[slot] = process
            for array in core.tagged():
                array.drop(slot)
        core.last = process

    def _tag(self, core: _Core, process: int, tables_shared: bool) -> object:
        """Tag of an entry; `tables_shared`: whether the domain has one copy of what the entry leads to."""
        domain = self.scenario.domain_of(process)
        if self.scenario.tags == "none":
            return "all"
        if self.scenario.tags == "group" and domain is not None and tables_shared:
            return ("domain", domain)
        return core.slots.index(process)

    def _run_quantum(self, core: _Core, process: int, accesses: int) -> None:
        state = self.processes[process]
        for _ in range(accesses):
            address = next(state.stream)
            is_huge = address < self.scenario.huge
            page = self.scenario.huge_page if is_huge else self.scenario.page
            state.accesses += 1
            if self._look_up_page(core, process, address // page, page, is_huge):
                state.walks[is_huge] += 1
                if self.scenario.caches:
                    self._walk(core, process, address, PAGE_BYTES.index(page) + 1)
            if self.scenario.caches:
                line = data_line(self.scenario, process) + address // LINE_BYTES
                state.data[self._refer(core, process, line)] += 1
        state.done += accesses

    def _look_up_page(self, core: _Core, process: int, number: int, page: int, is_huge: bool) -> bool:
        """Use the page in the TLBs; True if neither held it."""
        key = (self._tag(core, process, True), number << 12 | page.bit_length())
        l1: Tlb = self.mmu.l1_for(page)
        stlb = self.mmu.stlb_for(page)
        in_l1 = core.l1[l1].use(number % l1.sets, key)
        in_stlb = stlb is not None and core.stlb[stlb].use(number % stlb.sets, key)
        self.processes[process].l1_misses[is_huge] += not in_l1
        return not in_l1 and not in_stlb

    def _walk(self, core: _Core, process: int, address: int, leaf: int) -> None:
        first = self.scenario.levels  # the level whose entry the walk reads first
        for level in range(leaf + 1, self.scenario.levels + 1):
            array = core.walk_caches.get(level)
            if array is not None:
                entry = address >> 12 + 9 * (level - 1)
                tag = self._tag(core, process, self.scenario.shared_levels >= level - 1)
                if array.use(entry % len(array.rows), (tag, entry)):
                    first = level - 1
                    break
        for level in range(first, leaf - 1, -1):
            owner = self.scenario.table_owner(process, level)
            tables = table_start(self.scenario) + owner * self.lines_per_process + self.table_offsets[level - 1]
            line = tables + (address >> 12 + 9 * (level - 1) + 3)
            self.processes[process].tables[level - 1][self._refer(core, process, line)] += 1

    def _refer(self, core: _Core, process: int, line: int) -> int:
        """Where a line was found: 0 L1D, 1 L2, 2 L3, 3 memory."""
        l3 = (self.mmu.caches[2], self.l3[self.scenario.node_of(process)])
        for place, (cache, array) in enumerate((*core.private_caches, l3)):
            if _look_up_line(cache, array, line):
                return place
        return 3


def simulate_plainly(scenario: Scenario, mmu: Mmu) -> MmuCounts:
    """Simulate in plain Python: equal to `simulate`, some ten thousand times slower.

    Raises
    ------
    ConfigError
        The scenario does not fit the geometry.
    """
    check_against(scenario, mmu)
    model = _Model(scenario, mmu)
    model.run(scenario.warmup)
    for process in model.processes:
        process.clear()
    model.run(scenario.warmup + scenario.accesses)
    return MmuCounts(
        tuple(
            ProcessCounts(
                accesses=state.accesses,
                l1_misses=(state.l1_misses[0], state.l1_misses[1]),
                walks=(state.walks[0], state.walks[1]),
                table_references=tuple((row[0], row[1], row[2], row[3]) for row in state.tables),
                data_references=(state.data[0], state.data[1], state.data[2], state.data[3]),
            )
            for state in model.processes
        )
    )
