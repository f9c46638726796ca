"""A simulated sweep from the command to the compacted store: seconds, per cell, by workload, inline beside Ray.

    python benchmarks/sweep_speed.py                        100,000 cells: 5 mechanisms x 5 workloads x 40 counts x 100 sizes
    python benchmarks/sweep_speed.py --counts 10 --sizes 10 --executors inline
    python benchmarks/sweep_speed.py --each                 every workload by itself as well
    python benchmarks/sweep_speed.py --composed 1000        so many of the cells are composed by Hydra, too, each for itself

Each run is a process of its own, start-up counted. Every unit cost is set, so that every column of times is filled. Sizes go
geometrically from 128 MiB to 1 TiB, processes from 1 to 10,000; all coordinates are distinct (from 64 MiB on, 10,000 processes of
`vm_hosts` have 2,500 guests of 7 pages for two of the sizes, which is one cell). Memory is the
largest sum of resident pages of the run's processes, seen every 0.2 s, shared ones counted in each. Stores are compared byte by
byte, but for `store.json`, which holds the time.
"""

import argparse
import hashlib
import itertools
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml

from mshare_bench import load
from mshare_bench.config.cells import CellMaker
from mshare_bench.config.composer import Composer
from mshare_bench.config.parts import CellContext, Claims
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import MIB, TIB
from mshare_bench.real.environment import machine_digest
from mshare_bench.study.engines import model_of

MECHANISMS = ("shmem", "thp", "ksm", "inherit", "mshare")
WORKLOADS = ("region", "container_libs", "db_buffer_pool", "hpc_ranks", "vm_hosts")


def geometric(first: int, last: int, count: int, unit: int = 1) -> list[int]:
    """So many distinct multiples of `unit`, as evenly spread on a logarithmic scale as can be."""
    values: list[int] = []
    for place in range(count):
        wanted = round(first * (last / first) ** (place / max(1, count - 1)) / unit) * unit
        values.append(max(wanted, values[-1] + unit) if values else max(wanted, unit))
    return values


def write_profile(folder: Path) -> None:
    """A cost profile of the user's own with every unit cost."""
    costs = [
        {"name": name, "value": 2e6 if name == "cache_bytes" else 10.0 + place, "unit": kind.unit, "source": "made up"}
        for place, (name, kind) in enumerate(UNIT_COSTS.items())
    ]
    path = folder / "mshare-bench" / "conf" / "cost" / "benchmark.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"name": "benchmark", "machine": "benchmark", "basis": "assumed", "costs": costs}))


def resident(process: psutil.Process) -> int:
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run(overrides: list[str], out: Path, environment: dict[str, str]) -> tuple[float, float, int]:
    """Run the sweep; seconds, CPU seconds and peak bytes."""
    command = [sys.executable, "-m", "mshare_bench", "run", "-m", *overrides, f"out={out}", "tracking=none", "--quiet"]
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with subprocess.Popen(command, env=environment) as child:
        while child.poll() is None:
            try:
                peak = max(peak, resident(psutil.Process(child.pid)))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.2)
    if child.returncode:
        raise SystemExit(f"the run ended with {child.returncode}")
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def digests(store: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(store.glob("*.arrow"))}


def composed(axes: dict[str, Sequence[object]], count: int, store: Path) -> str:
    """Compose cells with all their coordinates as overrides; how many of them the store has, with the same digests."""
    cells = {row["cell"]: row for row in load(store).cells.select(["cell", "point", "baseline_point"]).to_pylist()}
    composer, context, found = Composer(), CellContext(model_of, machine_digest()), 0
    draw = random.Random(0)
    start = time.monotonic()
    for _ in range(count):
        overrides = [f"{key}={draw.choice(values)}" for key, values in axes.items()]
        (cell,) = CellMaker(composer.compose([*overrides, "cost=benchmark"]), context, Claims()).cells().cells
        row = cells.get(cell.digest)
        wanted = {"cell": cell.digest, "point": cell.point.digest, "baseline_point": cell.point.baseline_digest}
        found += row == wanted
    took = time.monotonic() - start
    return f"{found} of {count} cells that Hydra has composed are in the store with the same digests ({took:.0f} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, default=40, help="numbers of processes")
    parser.add_argument("--sizes", type=int, default=100, help="sizes of the regions")
    parser.add_argument("--executors", nargs="+", default=["inline", "ray"], choices=["inline", "ray"])
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS))
    parser.add_argument("--each", action="store_true", help="every workload by itself as well, inline")
    parser.add_argument("--composed", type=int, default=0, help="cells to compose by Hydra as well")
    options = parser.parse_args()
    counts = geometric(1, 10_000, options.counts)
    sizes = geometric(128 * MIB, TIB, options.sizes, 2 * MIB)
    with tempfile.TemporaryDirectory() as folder:
        write_profile(Path(folder))
        environment = {**os.environ, "XDG_CONFIG_HOME": folder}
        axes = [f"mechanism={','.join(MECHANISMS)}", f"processes={','.join(map(str, counts))}"]
        axes += [f"region={','.join(map(str, sizes))}", "cost=benchmark"]
        runs = [(executor, tuple(options.workloads)) for executor in options.executors]
        runs += [("inline", (workload,)) for workload in options.workloads if options.each]
        stores: dict[str, Path] = {}
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        for number, (executor, workloads) in enumerate(runs):
            out = Path(folder) / f"store-{number}"
            seconds, busy, peak = run(
                [*axes, f"workload={','.join(workloads)}", f"executor={executor}"], out, environment
            )
            cells = load(out).cells
            skipped = cells.num_rows - sum(status == "ok" for status in cells.column("status").to_pylist())
            name = executor if len(workloads) > 1 else f"{executor} {workloads[0]}"
            print(
                f"{name:24} {cells.num_rows:9,} cells ({skipped} skipped) {seconds:7.1f} s, {busy:7.1f} s of CPU, "
                f"{seconds / cells.num_rows * 1e6:7.1f} us a cell {peak / MIB:7.0f} MiB",
                flush=True,
            )
            if workloads == tuple(options.workloads):
                stores[executor] = out
        for one, other in itertools.pairwise(stores):
            same = digests(stores[one]) == digests(stores[other])
            print(f"{one} and {other}: stores {'byte-identical' if same else 'DIFFER'}")
        if options.composed:
            os.environ.update(environment)  # where the profile is
            named: dict[str, Sequence[object]] = {"mechanism": MECHANISMS, "workload": options.workloads}
            named |= {"processes": counts, "region": sizes}
            print(composed(named, options.composed, next(iter(stores.values()))))


if __name__ == "__main__":
    main()
