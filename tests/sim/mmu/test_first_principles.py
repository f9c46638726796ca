from dataclasses import replace

import pytest

from mshare_bench.sim.mmu import predict_uniform_walks
from tests.sim.mmu.geometries import named_geometry

GIB = 1 << 30


def test_the_measured_share_lies_between_no_overlap_and_full_overlap() -> None:
    """GUPS on the Haswell-EX of Mitosis: 83 % of the cycles in walks, 1.65 times the walk cycles with far tables.

    Nothing is fitted. The share is bounded from both sides; the ratio comes out 14 % too high (see docs).
    """
    walks = predict_uniform_walks(named_geometry("haswell_ex"), accesses=300_000)
    assert walks.walk_share_serial < 0.83 <= walks.walk_share
    assert walks.walk_cycles_remote_over_local == pytest.approx(1.65, rel=0.2)


def test_ratio_is_bounded_by_the_ratio_of_the_latencies() -> None:
    mmu = named_geometry("haswell_ex")
    latencies = mmu.memory_ns[1] / mmu.memory_ns[0]
    ratios = [
        predict_uniform_walks(mmu, region << 30, accesses=200_000).walk_cycles_remote_over_local
        for region in (1, 8, 64)
    ]
    assert 1 < ratios[0] < ratios[1] < ratios[2] < latencies  # more PTEs leave the caches as the region grows
    same = replace(mmu, memory_ns=(127.3, 127.3))
    assert predict_uniform_walks(same, 8 * GIB, accesses=50_000).walk_cycles_remote_over_local == 1
