"""What a simulation counted, and what the counts cost.

The models count events, in whole numbers; cycles are the counts times the geometry's latencies, worked out afterwards.
So two models that agree on the counts agree on the time, and one simulation can be priced under several latencies.
"""

from dataclasses import dataclass

from mshare_bench.domain.mmu import Mmu
from mshare_bench.sim.mmu.scenario import Scenario

__all__ = ["HIT_PLACES", "MmuCost", "MmuCounts", "ProcessCost", "ProcessCounts", "price"]

HIT_PLACES = ("l1d", "l2", "l3", "memory")


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """Events of one process.

    Attributes
    ----------
    accesses : int
    l1_misses, walks : tuple of two int
        L1 dTLB misses, and misses of L1 and STLB together (a walk each): of the region's base pages, of its huge pages.
    table_references : tuple of (tuple of four int)
        By table level, PTE first: references that walks made, by where the line was found (`HIT_PLACES`). The PTE
        references that exceed the PMD references are the walks that a page-walk cache of level 2 cut short, and so on.
    data_references : tuple of four int
        The accesses themselves, by where their line was found; all 0 where the scenario has no caches.
    """

    accesses: int
    l1_misses: tuple[int, int]
    walks: tuple[int, int]
    table_references: tuple[tuple[int, int, int, int], ...]
    data_references: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class MmuCounts:
    """Events of a simulation, by process."""

    processes: tuple[ProcessCounts, ...]

    @property
    def accesses(self) -> int:
        """Accesses of all processes."""
        return sum(process.accesses for process in self.processes)

    @property
    def l1_misses(self) -> int:
        """L1 dTLB misses of all processes and page sizes."""
        return sum(sum(process.l1_misses) for process in self.processes)

    @property
    def walks(self) -> int:
        """TLB misses of all processes and page sizes: each is a page walk."""
        return sum(sum(process.walks) for process in self.processes)

    @property
    def table_references(self) -> tuple[tuple[int, ...], ...]:
        """References by table level (PTE first) and by where they hit, over all processes."""
        levels = range(len(self.processes[0].table_references))
        return tuple(
            tuple(sum(process.table_references[level][place] for process in self.processes) for place in range(4))
            for level in levels
        )


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Cycles of one process, and how far its table lines were.

    Attributes
    ----------
    walk_cycles : float
        Cycles in page walks: the latencies of their references, one after another.
    walk_share : float
        `walk_cycles` (over the walkers that can work at once) of all cycles. See `price` for what overlaps.
    table_references_by_hops : tuple of int
        References that walks made to *memory*, by NUMA hops from the CPU to the table line.
    """

    walk_cycles: float
    stlb_cycles: float
    data_cycles: float
    cycles: float
    walk_share: float
    table_references_by_hops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MmuCost:
    """Cycles of a simulation: by process, and over all."""

    processes: tuple[ProcessCost, ...]
    walk_cycles: float
    cycles: float
    walk_share: float
    cycles_per_walk: float | None
    table_references_by_hops: tuple[int, ...]
    remote_walk_fraction: float | None


def price(
    counts: MmuCounts, scenario: Scenario, mmu: Mmu, *, work_cycles: float = 1.0, dependent: bool = True
) -> MmuCost:
    """The cycles that the counted events cost.

    Parameters
    ----------
    work_cycles : float
        Cycles of computation per access.
    dependent : bool
        True: each access waits for the one before it (a pointer chase), so walks and data latencies add up. False: the
        accesses are independent; data misses overlap each other and the walks of later accesses, and what takes longest
        sets the pace: the walkers, the miss buffers (`outstanding`), or the work.

    Notes
    -----
    A number is None where nothing was counted that could give it: no walks, no table reference that went to memory.
    """
    processes = tuple(
        _price_process(process, counts.processes[process], scenario, mmu, work_cycles, dependent)
        for process in range(scenario.processes)
    )
    walk_cycles = sum(process.walk_cycles for process in processes)
    cycles = sum(process.cycles for process in processes)
    by_hops = tuple(
        sum(process.table_references_by_hops[hops] for process in processes) for hops in range(len(mmu.memory_ns))
    )
    busy = sum(process.walk_share * process.cycles for process in processes)
    return MmuCost(
        processes=processes,
        walk_cycles=walk_cycles,
        cycles=cycles,
        walk_share=busy / cycles,
        cycles_per_walk=walk_cycles / counts.walks if counts.walks else None,
        table_references_by_hops=by_hops,
        remote_walk_fraction=1 - by_hops[0] / sum(by_hops) if sum(by_hops) else None,
    )


def _price_process(
    process: int, counts: ProcessCounts, scenario: Scenario, mmu: Mmu, work_cycles: float, dependent: bool
) -> ProcessCost:
    here = scenario.node_of(process)
    near = [cache.cycles for cache in mmu.caches]
    by_hops = [0] * len(mmu.memory_ns)
    walk_cycles = 0.0
    for level, references in enumerate(counts.table_references, start=1):
        hops = scenario.hops_between(here, scenario.table_node(process, level))
        by_hops[hops] += references[3]
        latencies = (*near, mmu.memory_cycles(hops))
        walk_cycles += sum(number * latency for number, latency in zip(references, latencies, strict=True))
    homes = scenario.data_nodes or (here,)
    memory = sum(mmu.memory_cycles(scenario.hops_between(here, home)) for home in homes) / len(homes)
    latencies = (*near, memory)
    data_cycles = sum(number * cycles for number, cycles in zip(counts.data_references, latencies, strict=True))
    stlb_cycles = (sum(counts.l1_misses) - sum(counts.walks)) * mmu.stlb_cycles
    work = counts.accesses * work_cycles
    busy = walk_cycles
    if dependent:
        cycles = work + stlb_cycles + walk_cycles + data_cycles
    else:
        busy = walk_cycles / mmu.walkers
        cycles = max(work + stlb_cycles, busy, data_cycles / mmu.outstanding)
    return ProcessCost(walk_cycles, stlb_cycles, data_cycles, cycles, busy / cycles, tuple(by_hops))
