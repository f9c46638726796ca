"""Concurrent faults: one address space (both kinds of `shared_mm`) beside one each (`shmem`), measured and by the queueing model.

As many processes as there are CPUs (two, if not told otherwise) write slices of their own, first one at a time, then all at
once. What running together costs is the ratio of the two, of the least disturbed of their rounds. The model has it from the fault
alone and from the time that a cache line takes from one CPU to another, as `calibrate` measures it. What slows `shmem` down
when all run is no lock of an address space: it is taken as the drag of the model, so only `shared_mm` is predicted. On a busy
machine (the last column is far from 1) the ratios say nothing.

    python benchmarks/concurrent_faults.py [--mib 64] [--rounds 7] [--processes 2]
"""

import argparse
import os
import sys

from mshare_bench.calibration.probes import PROBES, summary
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import MIB
from mshare_bench.real.engine import RealEngine, RealOptions
from mshare_bench.sim.contention import concurrent_faults, stations_of
from mshare_bench.sim.points import make_point

KINDS = {
    "shmem": ("shmem", {}),
    "shared_mm process": ("shared_mm", {"kind": "process"}),
    "shared_mm thread": ("shared_mm", {"kind": "thread"}),
}


def lock_transfer() -> float:
    """Nanoseconds that a contended cache line takes from one CPU to the next."""
    probe = next(one for one in PROBES if "lock_transfer" in one.costs)
    return summary(probe.run()["lock_transfer"])[0]


def touch(
    engine: RealEngine, mechanism: str, options: dict[str, str], processes: int, region: int
) -> tuple[float, int]:
    """Median touch of a process in ns, and the faults of all."""
    point = make_point(mechanism, processes, region, workload="hpc_ranks", options=options)
    (tables,) = engine.run([Cell(point, "real")])
    (row,) = tables["cells"].to_pylist()
    if row["status"] != "ok":
        sys.exit(f"{mechanism}: {row['error']}")
    return row["touch_ns"], row["minor_faults"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    cpus = min(given.processes, len(os.sched_getaffinity(0)))
    if cpus < 2:
        sys.exit("needs two CPUs")
    engines = {"alone": RealEngine(RealOptions(parallel=1)), "together": RealEngine(RealOptions(parallel=cpus))}
    times: dict[tuple[str, str], list[float]] = {}
    faults: dict[str, int] = {}
    for _ in range(given.rounds):  # interleaved, so that what else the machine does weighs on all alike
        for name, (mechanism, options) in KINDS.items():
            for how, engine in engines.items():
                time, faults[name] = touch(engine, mechanism, options, given.processes, given.mib * MIB)
                times.setdefault((name, how), []).append(time)
    transfer = lock_transfer()
    best = {key: min(values) for key, values in times.items()}
    ratio = {name: best[name, "together"] / best[name, "alone"] for name in KINDS}
    drag = max(0.0, ratio["shmem"] - 1) / (cpus - 1)
    print(
        f"a cache line from CPU to CPU: {transfer:.0f} ns; {given.processes} processes, {given.mib} MiB, {given.rounds} rounds"
    )
    print(f"{'':20} {'fault alone':>12} {'together/alone':>15} {'model':>15} {'slowest/fastest':>16}")
    for name in KINDS:
        each = best[name, "alone"] * given.processes / faults[name]
        sharing = "own" if name == "shmem" else "one_mm"
        model = concurrent_faults(cpus, cpus, each, stations_of(sharing, transfer), drag).fault_ns / each
        shown = "(sets the drag)" if name == "shmem" else f"{model:.2f}"
        apart = max(times[name, "together"]) / best[name, "together"]
        print(f"{name:20} {each:9.0f} ns {ratio[name]:15.2f} {shown:>15} {apart:16.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
