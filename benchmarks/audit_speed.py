"""An audit beside reading smaps: the same processes, in turns, wall and CPU time as ratios.

    python benchmarks/audit_speed.py                          500 processes x 256 MiB, dense and sparse
    python benchmarks/audit_speed.py --processes 5000 --patterns sparse --rounds 1

`smaps` is only read here, not taken apart: what a tool needs at the least. The audit does all it does: it finds the
processes that share an address space, reads, attributes, adds up. `own` layouts are processes that map the memory at
addresses of their own, as programs that were executed one by one do; `forked` ones all have the same addresses.
"""

import argparse
import contextlib
import mmap
import os
import statistics
import sys
import time
from collections.abc import Iterator

from mshare_bench.audit import audit_host
from mshare_bench.domain.units import parse_size
from mshare_bench.real.agent import Map, Touch
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree

_GIB = 1 << 30


@contextlib.contextmanager
def processes(count: int, size: int, step: int, layout: str) -> Iterator[list[int]]:
    """Start agents that share one memfd and read a page of each `step` bytes."""
    fd = os.memfd_create("audited")
    try:
        os.ftruncate(fd, size)
        with mmap.mmap(fd, size) as memory:
            for at in range(0, size, step):
                memory[at] = 1
        apart = -(-size // _GIB) * _GIB
        addresses = [REGIONS_START + at * apart for at in range(count if layout == "own" else 1)]
        programs = [{"do": [Map(at, size, fd=fd), Touch(at, count=size // step, stride=step)]} for at in addresses]
        assignment = [at % len(programs) for at in range(count)]
        with ProcessTree(programs, count, assignment, fds=[fd], timeout=600) as tree:
            tree.launch()
            tree.run("do")
            yield [int(pid) for pid in tree.pids]
    finally:
        os.close(fd)


def read_smaps(pids: list[int]) -> None:
    for pid in pids:
        with open(f"/proc/{pid}/smaps", "rb", buffering=0) as file:
            while file.read(1 << 16):
                pass


def timed(work) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=500)
    parser.add_argument("--size", default="256MiB")
    parser.add_argument("--patterns", default="dense,sparse", help="dense: every page; sparse: one page in 2 MiB")
    parser.add_argument("--layouts", default="forked,own")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = parse_size(options.size)
    print(
        f"{options.processes} processes x {options.size}; medians of {options.rounds} rounds in turns; seconds wall (cpu)"
    )
    print(
        f"{'pattern':8} {'layout':8} {'smaps':>16} {'audit of them':>16} {'audit --all':>16} {'ratio':>8} {'exact':>14}"
    )
    for pattern in options.patterns.split(","):
        for layout in options.layouts.split(","):
            step = 4096 if pattern == "dense" else 2 << 20
            with processes(options.processes, size, step, layout) as pids:
                rows = []
                for _ in range(options.rounds):
                    audits = []
                    rows.append(
                        [
                            timed(lambda pids=pids: read_smaps(pids)),
                            timed(lambda pids=pids, audits=audits: audits.append(audit_host(pids=pids))),
                            timed(audit_host),
                        ]
                    )
                exact = sum(not one.unattributed_bytes for one in audits[0].processes)
            columns = [list(zip(*(row[at] for row in rows), strict=True)) for at in range(3)]
            wall, cpu = ([statistics.median(column[at]) for column in columns] for at in (0, 1))
            cells = " ".join(f"{f'{one:.3f} ({two:.3f})':>16}" for one, two in zip(wall, cpu, strict=True))
            ratio = statistics.median(row[0][1] / row[1][1] for row in rows)
            print(
                f"{pattern:8} {layout:8} {cells} {ratio:7.1f}x {f'{exact}/{len(audits[0].processes)}':>14}", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
