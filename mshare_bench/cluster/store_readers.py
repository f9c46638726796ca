"""Readers of one object in Ray's own object store: the program that `workload=app_ray_store` starts and tells what to do.

    python -m mshare_bench.cluster.store_readers READERS BYTES FOLDER

It speaks JSON lines: `{"pids": [...]}` once the readers are there, then for each line that it reads `{"pids": [...],
"each_ns": [...]}` when all have got the object and read every page of it. It ends when its input ends.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mshare_bench.cluster.connect import local_ray

__all__ = ["main"]

_LEAST_STORE = 100 << 20


def main(readers: int, size: int, folder: str) -> None:
    """Start Ray on this machine alone, with room for one object, and the readers as actors."""
    import numpy as np

    class Reader:
        """Gets the object, and keeps it."""

        def pid(self) -> int:
            """Process that this reader is."""
            return os.getpid()

        def read(self, references: list[Any]) -> int:
            """Read a byte of every page; nanoseconds that it took."""
            start = time.perf_counter_ns()
            import ray

            self._data = ray.get(references[0])
            self._sum = int(self._data[::4096].sum())
            return time.perf_counter_ns() - start

    with local_ray(1, max(size + size // 8, _LEAST_STORE), Path(folder) if folder else None) as ray:
        actor = ray.remote(num_cpus=0)(Reader)
        actors = [actor.remote() for _ in range(readers)]
        pids = ray.get([one.pid.remote() for one in actors])
        reference = ray.put(np.ones(size, np.uint8))
        print(json.dumps({"pids": pids}), flush=True)
        for _ in sys.stdin:
            each = ray.get([one.read.remote([reference]) for one in actors])
            print(json.dumps({"pids": pids, "each_ns": each}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
