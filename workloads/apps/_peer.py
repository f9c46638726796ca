"""A process that maps a file when it starts, reads every page of it when it is told, and stays.

_peer.py PATH       it prints a line once it has mapped, and for each line it reads one with the nanoseconds that reading took
"""

import mmap
import os
import sys
import time


def main() -> None:
    """Map, then read for every line of the input."""
    descriptor = os.open(sys.argv[1], os.O_RDWR)
    size = os.fstat(descriptor).st_size
    memory = mmap.mmap(descriptor, size)
    print(0, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter_ns()
        for at in range(0, size, mmap.PAGESIZE):
            memory[at]
        print(time.perf_counter_ns() - start, flush=True)


if __name__ == "__main__":
    main()
