"""MPI ranks of one node that share a window: `MPI_Win_allocate_shared`, allocated by rank 0, touched whole by every rank.

Needs `mpi4py` and an MPI with `mpiexec`; the `mpich` wheel is one and has no setting for root. MPI's own buffers are shared
memory as well; watched is what is as large as the window. Their files in `/dev/shm` would outlive ranks that are killed: as root,
the ranks have a `/dev/shm` of their own, in a mount namespace that goes with them.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.workloads.registry import workload

__all__ = ["APP_MPI", "MpiDriver"]


_SCRIPT = 'mount -t tmpfs mshare-bench /dev/shm && exec "$@"'
_APART = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "mpi")


class MpiDriver:
    """Starts `mpiexec`, and tells the ranks what to do by files."""

    def __init__(self) -> None:
        self._mpiexec: str | None = None
        self._size = 0

    def lack(self, stage: Stage) -> str | None:
        """The binding and the launcher, beside this interpreter or on the PATH."""
        self._size = stage.workload.region_bytes
        beside = Path(sys.executable).parent / "mpiexec"
        self._mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
        if importlib.util.find_spec("mpi4py") is None or self._mpiexec is None:
            return "mpi4py or mpiexec is not installed; pip install 'mshare-bench[apps]' brings mpi4py and mpich"
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """None."""
        return {}

    def start(self, stage: Stage) -> None:
        """Start the ranks."""
        assert self._mpiexec is not None
        program = Path(__file__).with_name("_mpi_rank.py")
        ranks = str(stage.workload.processes)
        stage.spawn(
            [*_apart(), self._mpiexec, "-n", ranks, sys.executable, str(program), str(stage.folder), str(self._size)],
            name="mpiexec",
        )

    def attach(self, stage: Stage) -> Watched:
        """Wait for all to have the window."""
        pids, _ = self._notes(stage, "attached")
        return Watched({"ranks": pids})

    def touch(self, stage: Stage) -> Watched:
        """Let all touch it at the same time."""
        (stage.folder / "touch").touch()
        pids, taken = self._notes(stage, "touched")
        return Watched({"ranks": pids}, Timing(taken, max(taken)))

    def watches(self, mapping: MappedFile) -> bool:
        """What is shared and as large as the window."""
        return mapping.shared and mapping.inode != 0 and mapping.size >= self._size

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """None."""
        return ()

    def stop(self, stage: Stage) -> None:
        """Let the ranks end."""
        (stage.folder / "end").touch()

    def _notes(self, stage: Stage, step: str) -> tuple[list[int], list[int]]:
        files = [stage.folder / f"{step}-{rank}" for rank in range(stage.workload.processes)]
        stage.wait(f"mpi ranks ({step})", lambda: all(one.exists() for one in files))
        found = [[int(word) for word in one.read_text().split()] for one in files]
        return [pid for pid, _ in found], [taken for _, taken in found]


def _apart() -> tuple[str, ...]:
    """What a command is started with so that it has a `/dev/shm` of its own; nothing where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*_APART, "true"], capture_output=True, check=False)
    return _APART if tried.returncode == 0 else ()


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    return (ProcessGroup("ranks", "rank", (Cohort(request.processes, (request.touch("window"),)),)),)


APP_MPI = workload(
    WorkloadSpec(
        name="app_mpi",
        description="MPI ranks that share one window (MPI_Win_allocate_shared), touched whole by each",
        regions=(Region("window", GIB),),
        main="window",
        build=_groups,
        processes=8,
        access=AccessPattern("dense"),
        driver=MpiDriver,
        mechanisms=("shmem",),
        beside=("hugetlb", "mshare"),
    )
)
