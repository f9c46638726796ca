"""Page walks of random updates on a large region, predicted from geometry and latencies alone: nothing is fitted.

Held against the target ``mitosis_gups_from_first_principles`` (Mitosis, ASPLOS'20: GUPS on a Haswell-EX).
"""

from dataclasses import dataclass, replace

from mshare_bench.domain.mmu import Mmu
from mshare_bench.sim.mmu.result import price
from mshare_bench.sim.mmu.scenario import Scenario
from mshare_bench.sim.mmu.simulate import simulate
from mshare_bench.sim.mmu.streams import Uniform

__all__ = ["UniformWalks", "predict_uniform_walks"]


@dataclass(frozen=True, slots=True)
class UniformWalks:
    """Walks of one process that touches random lines.

    Attributes
    ----------
    walk_share : float
        Share of the cycles in which a walk is under way when updates are independent of each other, as those of GUPS are.
    walk_share_serial : float
        The same when nothing overlaps: each update waits for its walk and then for its data. Hardware lies between.
    walk_cycles_local, walk_cycles_remote : float
        Cycles per walk with the tables on the process's own NUMA node, and one hop away.
    walk_cycles_remote_over_local : float
        Their ratio.
    """

    walk_share: float
    walk_share_serial: float
    walk_cycles_local: float
    walk_cycles_remote: float
    walk_cycles_remote_over_local: float


def predict_uniform_walks(
    mmu: Mmu, region: int = 64 << 30, *, accesses: int = 2_000_000, seed: int = 1
) -> UniformWalks:
    """Simulate a uniform stream over `region` bytes until the caches are warm, then price it with near and far tables.

    Parameters
    ----------
    mmu : Mmu
        Needs the memory latency of one hop.
    accesses : int
        Accesses that count; twice the lines of the L3 come before them.
    """
    warmup = 2 * mmu.caches[2].size // 64
    local = Scenario(
        region=region,
        processes=1,
        accesses=accesses,
        warmup=warmup,
        streams=(Uniform(),),
        core_nodes=(0,),
        table_nodes=(0,),
        data_nodes=(0,),
        seed=seed,
    )
    remote = replace(local, table_nodes=(1,))
    counts = simulate(local, mmu)
    near = price(counts, local, mmu, dependent=False)
    far = price(counts, remote, mmu, dependent=False)
    serial = price(counts, local, mmu, dependent=True)
    near_cycles, far_cycles = near.walk_cycles / counts.walks, far.walk_cycles / counts.walks
    return UniformWalks(near.walk_share, serial.walk_share, near_cycles, far_cycles, far_cycles / near_cycles)
