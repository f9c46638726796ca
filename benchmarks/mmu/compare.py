"""The compiled MMU model beside the same model in C at ``gcc -O3``: counters must be equal, speeds are printed as ratios.

    python benchmarks/mmu/compare.py [--accesses N] [--rounds N] [--march-native] [--mmu NAME] [--model tlbs|everything]

Each line is the fastest of several rounds, the two taking turns; M/s are million accesses per second of the thread's CPU
time. The C program is built in both forms (sets in order of use; ages) and the faster one counts. `python` is the whole
of `simulate`, arrays and all. Two threads are timed by the clock on the wall: they need two idle cores. Exit code 1 if
the counters differ.
"""

import argparse
import ctypes
import functools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mshare_bench.sim.mmu import (
    Mmu,
    MmuCounts,
    Scenario,
    Sequential,
    Stream,
    Uniform,
    Zipf,
    geometry_from_mapping,
    simulate,
)
from mshare_bench.sim.mmu.reference_streams import seed_of
from mshare_bench.sim.mmu.scenario import check_against, table_lines
from mshare_bench.sim.mmu.streams import ZIPF_BUCKETS, number_stream

HERE = Path(__file__).parent
LINE = 64


class CProcess(ctypes.Structure):
    _fields_ = [
        ("seed", ctypes.c_uint64),
        ("position", ctypes.c_uint64),
        ("numbers", ctypes.c_uint64 * 8),
        ("tables", ctypes.c_int64 * 6),
        ("domain", ctypes.c_int64),
        ("l1_misses", ctypes.c_int64),
        ("walks", ctypes.c_int64),
        ("data", ctypes.c_int64 * 4),
        ("table_hits", ctypes.c_int64 * 4 * 5),
    ]


def named_geometry(name: str) -> Mmu:
    mapping: Any = OmegaConf.to_container(OmegaConf.load(HERE.parents[1] / "conf" / "mmu" / f"{name}.yaml"))
    return geometry_from_mapping(mapping)


def defines(scenario: Scenario, mmu: Mmu) -> list[str]:
    stlb = mmu.stlb_for(scenario.page)
    assert stlb is not None
    l1 = mmu.l1_for(scenario.page)
    walk_caches = {cache.level: cache for cache in mmu.page_walk_caches}
    values = {
        "L1_SETS": l1.sets,
        "L1_WAYS": l1.ways,
        "STLB_SETS": stlb.sets,
        "STLB_WAYS": stlb.ways,
        "L3_SLICES": mmu.caches[2].slices,
        "ZIPF_BUCKETS": ZIPF_BUCKETS,
        "QUANTUM": scenario.quantum,
        "PCIDS": scenario.pcids,
        "SHARED_LEVELS": scenario.shared_levels,
        "KEY_BITS": check_against(scenario, mmu),
        "TAGS": ("none", "pcid", "group").index(scenario.tags),
        "STREAM": int(number_stream(scenario.streams[0], scenario.region).kind),
    }
    for name, level in (("PMD", 2), ("PUD", 3), ("PGD", 4)):
        values |= {f"{name}_SETS": walk_caches[level].sets, f"{name}_WAYS": walk_caches[level].ways}
    for name, cache in zip(("L1D", "L2", "L3"), mmu.caches, strict=True):
        values |= {f"{name}_SETS": cache.sets, f"{name}_WAYS": cache.ways}
    return [f"-D{name}={value}" for name, value in values.items()] + (["-DEVERYTHING"] if scenario.caches else [])


def build(scenario: Scenario, mmu: Mmu, folder: str, flags: list[str], form: str) -> Any:
    library = Path(folder) / f"mmu-{abs(hash((scenario, form)))}.so"
    command = ["gcc", "-O3", "-shared", "-fPIC", "-Wall", *flags, *defines(scenario, mmu), "-o", str(library)]
    subprocess.run([*command, *(["-DAGES"] if form == "ages" else []), str(HERE / "mmu.c")], check=True)
    return ctypes.CDLL(str(library))


def prepare(scenario: Scenario) -> tuple[Any, Any]:
    offsets, lines = table_lines(scenario)
    processes = (CProcess * scenario.processes)()
    buckets = (ctypes.c_uint32 * (4 * ZIPF_BUCKETS))()
    for number, process in enumerate(processes):
        stream = number_stream(scenario.stream_of(number), scenario.region, number)
        process.seed = seed_of(scenario.seed, number)
        process.numbers[: len(stream.numbers)] = stream.numbers
        for level, offset in enumerate(offsets, start=1):
            process.tables[level] = scenario.region // LINE + scenario.table_owner(number, level) * lines + offset
        domain = scenario.domain_of(number)
        process.domain = -1 if domain is None else domain
        for bucket, row in enumerate(zip(stream.first, stream.count, stream.cut, stream.other, strict=True)):
            buckets[4 * bucket : 4 * bucket + 4] = list(row)
    return processes, buckets


def run_c(library: Any, scenario: Scenario) -> tuple[float, list[tuple[Any, ...]]]:
    processes, buckets = prepare(scenario)
    begin = time.thread_time()
    library.run(processes, ctypes.c_int64(scenario.processes), ctypes.c_uint64(scenario.accesses), buckets)
    seconds = time.thread_time() - begin
    return seconds, [
        (p.l1_misses, p.walks, tuple(p.data), tuple(tuple(level) for level in p.table_hits)) for p in processes
    ]


def run_python(scenario: Scenario, mmu: Mmu) -> tuple[float, MmuCounts]:
    begin = time.thread_time()
    counts = simulate(scenario, mmu)
    return time.thread_time() - begin, counts


def as_tuples(counts: MmuCounts) -> list[tuple[Any, ...]]:
    return [(p.l1_misses[0], p.walks[0], p.data_references, p.table_references) for p in counts.processes]


def two_threads(one: Callable[[], object], rounds: int) -> float:
    """Throughput of two simulations in two threads over that of one."""
    single = paired = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        one()
        single = min(single, time.perf_counter() - begin)
        threads = [threading.Thread(target=one) for _ in range(2)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        paired = min(paired, time.perf_counter() - begin)
    return 2 * single / paired


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accesses", type=int, default=20_000_000, help="in all, over four processes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--march-native", action="store_true", help="build the C program for this machine's CPU")
    parser.add_argument("--mmu", default="skylake_sp", help="a geometry in conf/mmu")
    parser.add_argument("--model", choices=("tlbs", "everything"), help="TLBs only, or all of it; both by default")
    options = parser.parse_args()
    models = [caches for caches, name in ((False, "tlbs"), (True, "everything")) if options.model in (None, name)]
    mmu = named_geometry(options.mmu)
    flags = ["-march=native"] if options.march_native else []
    streams: dict[str, Stream] = {"uniform": Uniform(), "zipf": Zipf(), "sequential": Sequential()}
    equal = True
    print(f"{'model':<12} {'stream':<11} {'python M/s':>10} {'C M/s':>8} {'python/C':>9}  counters  (C form)")
    with tempfile.TemporaryDirectory() as folder:
        for caches in models:
            for name, stream in streams.items():
                scenario = Scenario(
                    region=4 << 30,
                    processes=4,
                    accesses=options.accesses // 4,
                    streams=(stream,),
                    quantum=20_000,
                    caches=caches,
                )
                libraries = {form: build(scenario, mmu, folder, flags, form) for form in ("ordered", "ages")}
                fastest = dict.fromkeys(("python", *libraries), float("inf"))
                same = True
                run_python(scenario, mmu)
                for _ in range(options.rounds):
                    seconds, counts = run_python(scenario, mmu)
                    fastest["python"] = min(fastest["python"], seconds)
                    for form, library in libraries.items():
                        seconds, numbers = run_c(library, scenario)
                        fastest[form] = min(fastest[form], seconds)
                        same &= numbers == as_tuples(counts)
                equal &= same
                form = min(libraries, key=lambda form: fastest[form])
                rate = {key: options.accesses / seconds / 1e6 for key, seconds in fastest.items()}
                print(
                    f"{'everything' if caches else 'L1 + STLB':<12} {name:<11} {rate['python']:>10.1f} {rate[form]:>8.1f} "
                    f"{rate['python'] / rate[form]:>9.2f}  {'equal' if same else 'DIFFER'}     ({form})",
                    flush=True,
                )
    for caches in models:
        scenario = Scenario(
            region=4 << 30,
            processes=4,
            accesses=options.accesses // 4,
            streams=(Uniform(),),
            quantum=20_000,
            caches=caches,
        )
        speedup = two_threads(functools.partial(simulate, scenario, mmu), options.rounds)
        print(f"two threads over one, uniform, {'everything' if caches else 'L1 + STLB'}: {speedup:.2f}x")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
