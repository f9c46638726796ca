"""Ray's own object store: one object, put once, got and read whole by N actors, each a process that maps the store.

The store's memory is one file in `/dev/shm` that every worker maps; `ray.get` of an array copies nothing. The program that runs
Ray is `mshare_bench.cluster.store_readers`, in a process of its own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import CellFailed
from mshare_bench.workloads.registry import workload

__all__ = ["APP_RAY_STORE", "RayStoreDriver"]


class RayStoreDriver:
    """Starts the program and tells it when to read."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None

    def lack(self, stage: Stage) -> str | None:
        """Nothing: Ray is what this package runs on."""
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """None."""
        return {}

    def start(self, stage: Stage) -> None:
        """Start Ray with its files in the run's folder, where sockets' names allow it."""
        folder = stage.folder / "r"
        short = len(str(folder)) + len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store") < 107
        command = [sys.executable, "-m", "mshare_bench.cluster.store_readers", str(stage.workload.processes)]
        self._program = stage.spawn(
            [*command, str(stage.workload.region_bytes), str(folder) if short else ""], name="ray", pipe=True
        )

    def attach(self, stage: Stage) -> Watched:
        """The readers, which have the store mapped and nothing of it read."""
        return Watched({"readers": self._answer(stage)["pids"]})

    def touch(self, stage: Stage) -> Watched:
        """Let all get the object and read it."""
        assert self._program is not None
        assert self._program.stdin is not None
        start = time.perf_counter_ns()
        self._program.stdin.write(b"read\n")
        self._program.stdin.flush()
        answer = self._answer(stage)
        return Watched({"readers": answer["pids"]}, Timing(answer["each_ns"], time.perf_counter_ns() - start))

    def watches(self, mapping: MappedFile) -> bool:
        """The store's memory."""
        return mapping.shared and mapping.path.startswith("/dev/shm/plasma")

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """None."""
        return ()

    def stop(self, stage: Stage) -> None:
        """End the program's input: it shuts Ray down."""
        if self._program is not None and self._program.stdin is not None:
            self._program.stdin.close()
            try:
                self._program.wait(20)
            except subprocess.TimeoutExpired:
                self._program.terminate()

    def _answer(self, stage: Stage) -> dict[str, Any]:
        assert self._program is not None
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            stage.wait("ray", lambda: False)  # it has ended: this says how
            raise CellFailed("ray: it has ended")
        found: dict[str, Any] = json.loads(line)
        return found


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    return (ProcessGroup("readers", "reader", (Cohort(request.processes, (request.touch("object"),)),)),)


APP_RAY_STORE = workload(
    WorkloadSpec(
        name="app_ray_store",
        description="Ray's object store: one object, read whole by every actor",
        regions=(Region("object", GIB),),
        main="object",
        build=_groups,
        processes=8,
        access=AccessPattern("dense"),
        driver=RayStoreDriver,
        copies=2,
        mechanisms=("shmem",),
        beside=("hugetlb", "mshare"),
    )
)
