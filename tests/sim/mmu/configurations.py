"""Random geometries and scenarios, small enough for plain Python and odd enough to reach every rule."""

import random
from typing import Any

import numpy as np

from mshare_bench.sim.mmu import (
    BTreeProbe,
    Cache,
    Gups,
    HashJoin,
    HotCold,
    KeyValue,
    Mmu,
    PageWalkCache,
    PointerChase,
    Scenario,
    Sequential,
    Stream,
    Stride,
    Tlb,
    Trace,
    Uniform,
    Zipf,
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def random_geometry(rnd: random.Random) -> Mmu:
    def tlb(pages: tuple[int, ...], most_sets: int) -> Tlb:
        ways = rnd.choice([1, 2, 3, 4, 5, 8, 12, 16, 17, 20, 33, 64])
        return Tlb(ways * 2 ** rnd.randrange(most_sets), ways, pages)

    unified = rnd.random() < 0.3
    l1 = (tlb((4 * KIB, 2 * MIB, GIB), 2),) if unified else tuple(tlb((page,), 3) for page in (4 * KIB, 2 * MIB, GIB))
    stlb = rnd.choice(
        [(tlb((4 * KIB, 2 * MIB), 5),), (tlb((4 * KIB, 2 * MIB), 4), tlb((GIB,), 1)), (tlb((4 * KIB,), 4),), ()]
    )
    levels = rnd.sample([2, 3, 4, 5], rnd.randrange(5))
    ways = [rnd.choice([1, 2, 3, 8, 11, 16, 18, 20]) for _ in range(3)]
    slices = rnd.choice([1, 1, 3, 5, 14])
    return Mmu(
        name="random",
        l1=l1,
        stlb=stlb,
        page_walk_caches=tuple(
            PageWalkCache(level, walk_ways * 2 ** rnd.randrange(3), walk_ways)
            for level in sorted(levels)
            for walk_ways in [rnd.choice([1, 2, 4, 17])]
        ),
        caches=(
            Cache(64 * ways[0] * 2 ** rnd.randrange(5), ways[0], 4),
            Cache(64 * ways[1] * 2 ** rnd.randrange(6), ways[1], 14),
            Cache(64 * ways[2] * slices * 2 ** rnd.randrange(7), ways[2], 50, slices),
        ),
        memory_ns=(80.0, 140.0),
        clock_ghz=2.5,
        stlb_cycles=7,
    )


def random_stream(rnd: random.Random, region: int) -> Stream:
    trace = np.array([rnd.randrange(region) for _ in range(rnd.randrange(1, 200))], np.int64)
    choices: list[Any] = [
        Sequential(step=rnd.choice([1, 8, 64, 100]), stagger=rnd.choice([0, 4096, 12345])),
        Stride(step=rnd.choice([4096, 4160, 2 * MIB])),
        Uniform(),
        Zipf(
            skew=rnd.choice([0.0, 0.5, 0.99, 1.0, 2.0]), item=rnd.choice([64, 192, 4096]), scattered=rnd.random() < 0.5
        ),
        PointerChase(node=rnd.choice([64, 4096])),
        HotCold(hot=rnd.choice([4096, 64 * KIB, MIB]), fraction=rnd.choice([0.0, 0.5, 0.9, 1.0])),
        Gups(),
        BTreeProbe(node=rnd.choice([256, 4096]), fanout=rnd.choice([2, 16, 256])),
        HashJoin(table=rnd.choice([0.25, 0.5])),
        KeyValue(skew=0.9, value=rnd.choice([64, 1024])),
        Trace(trace),
    ]
    stream: Stream = rnd.choice(choices)
    return stream


def random_scenario(rnd: random.Random, accesses: int = 2000, **fixed: Any) -> Scenario:
    """A scenario with `accesses` in all, shared out over its processes; `fixed` overrides what is drawn."""
    processes = rnd.choice([1, 2, 3, 4, 7, 9])
    page = rnd.choice([4 * KIB, 4 * KIB, 4 * KIB, 2 * MIB, GIB])
    region = page * rnd.choice([2, 3, 16, 100]) if page > 4 * KIB else rnd.choice([2 * MIB, 6 * MIB, 64 * MIB, 3 * GIB])
    huge = rnd.choice([0, region // 2 // (2 * MIB) * 2 * MIB]) if page == 4 * KIB else 0
    cores = rnd.choice([1, 1, 2, 3])
    streams = tuple(random_stream(rnd, region) for _ in range(rnd.choice([1, processes])))
    levels = rnd.choice([4, 5])
    drawn: dict[str, Any] = {
        "region": region,
        "processes": processes,
        "accesses": max(1, accesses // processes),
        "streams": streams,
        "quantum": rnd.choice([1, 7, 50, 300, 5000]),
        "tags": rnd.choice(["none", "pcid", "group"]),
        "domains": tuple(rnd.choice([0, 0, 1, None]) for _ in range(processes)) if rnd.random() < 0.5 else (),
        "shared_levels": rnd.randrange(levels),
        "levels": levels,
        "page": page,
        "huge": huge,
        "core_nodes": tuple(rnd.randrange(2) for _ in range(cores)),
        "cores_of": tuple(rnd.randrange(cores) for _ in range(processes)) if rnd.random() < 0.3 else (),
        "pcids": rnd.choice([6, 6, 1, 2]),
        "warmup": rnd.choice([0, 0, 33]),
        "caches": rnd.random() < 0.75,
        "seed": rnd.randrange(1 << 30),
        "private_data": rnd.random() < 0.3 and region <= 4 * GIB,
    }
    return Scenario(**(drawn | fixed))
