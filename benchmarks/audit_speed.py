"""An audit beside reading smaps: the same processes, in turns, wall and CPU time as ratios.

    python benchmarks/audit_speed.py                          500 processes x 256 MiB, dense and sparse
    python benchmarks/audit_speed.py --processes 5000 --patterns sparse --rounds 1

Of `smaps` there are two figures: only read, whatever is in it thrown away; and read and summed, resident bytes by object, as
near as it comes to an answer (it tells neither tables nor which of them are double). The audit does all it does: it finds
the processes that share an address space, reads, attributes, adds up. Ratios are of CPU time, medians of those of each round.
`own` layouts are processes that map the memory at addresses of their own, as programs that were executed one by one do;
`forked` ones all have the same addresses.
"""

import argparse
import contextlib
import mmap
import os
import re
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


_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ .{4} [0-9a-f]+ ([0-9a-f:]+ \d+) .*\n(?:[A-Z].*\n)*?Rss: +(\d+)", re.M)


def sum_smaps(pids: list[int]) -> dict[bytes, int]:
    sums: dict[bytes, int] = {}
    for pid in pids:
        with open(f"/proc/{pid}/smaps", "rb", buffering=0) as file:
            data = b"".join(iter(lambda file=file: file.read(1 << 16), b""))
        for which, resident in _MAPPING.findall(data):
            sums[which] = sums.get(which, 0) + int(resident)
    return sums


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
        f"{options.processes} processes x {options.size}; {options.rounds} rounds in turns; medians, seconds wall (cpu)"
    )
    heads = f"{'smaps read':>16} {'smaps summed':>16} {'audit of them':>16} {'audit --all':>16}"
    print(f"{'pattern':8} {'layout':8} {heads} {'to read':>8} {'to sum':>8} {'exact':>14}")
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
                            timed(lambda pids=pids: sum_smaps(pids)),
                            timed(lambda pids=pids, audits=audits: audits.append(audit_host(pids=pids))),
                            timed(audit_host),
                        ]
                    )
                exact = sum(not one.unattributed_bytes for one in audits[0].processes)
            columns = [list(zip(*(row[at] for row in rows), strict=True)) for at in range(4)]
            wall, cpu = ([statistics.median(column[at]) for column in columns] for at in (0, 1))
            cells = " ".join(f"{f'{one:.3f} ({two:.3f})':>16}" for one, two in zip(wall, cpu, strict=True))
            ratios = (statistics.median(row[at][1] / row[2][1] for row in rows) for at in (0, 1))
            shown = " ".join(f"{one:7.1f}x" for one in ratios)
            print(f"{pattern:8} {layout:8} {cells} {shown} {f'{exact}/{len(audits[0].processes)}':>14}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
