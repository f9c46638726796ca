"""The MMU: TLBs, page-walk caches and the caches around table lines, for processes that share a region.

`simulate` runs a `Scenario` on an `Mmu` geometry and counts; `price` turns the counts into cycles. `simulate_plainly` is
the same model in plain Python: the rules to read (module `reference`), and the oracle of the tests.
"""

from mshare_bench.domain.mmu import Cache, Mmu, PageWalkCache, Tlb, geometry_from_mapping
from mshare_bench.sim.mmu.first_principles import UniformWalks, predict_uniform_walks
from mshare_bench.sim.mmu.reference import simulate_plainly
from mshare_bench.sim.mmu.result import HIT_PLACES, MmuCost, MmuCounts, ProcessCost, ProcessCounts, price
from mshare_bench.sim.mmu.scenario import LINUX_PCIDS, Scenario, Tags, quantum_accesses
from mshare_bench.sim.mmu.simulate import simulate
from mshare_bench.sim.mmu.streams import (
    BTreeProbe,
    Gups,
    HashJoin,
    HotCold,
    KeyValue,
    PointerChase,
    Sequential,
    Stream,
    Stride,
    Trace,
    Uniform,
    Zipf,
    stream_from_mapping,
)
from mshare_bench.sim.mmu.trace import load_traces, trace_from_addresses

__all__ = [
    "HIT_PLACES",
    "LINUX_PCIDS",
    "BTreeProbe",
    "Cache",
    "Gups",
    "HashJoin",
    "HotCold",
    "KeyValue",
    "Mmu",
    "MmuCost",
    "MmuCounts",
    "PageWalkCache",
    "PointerChase",
    "ProcessCost",
    "ProcessCounts",
    "Scenario",
    "Sequential",
    "Stream",
    "Stride",
    "Tags",
    "Tlb",
    "Trace",
    "Uniform",
    "UniformWalks",
    "Zipf",
    "geometry_from_mapping",
    "load_traces",
    "predict_uniform_walks",
    "price",
    "quantum_accesses",
    "simulate",
    "simulate_plainly",
    "stream_from_mapping",
    "trace_from_addresses",
]
