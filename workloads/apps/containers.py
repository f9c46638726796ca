"""Containers that start from one image: each with an overlay mount of its own, all with the same libraries.

Every container is a mount namespace of its own in which an overlay (lower: the image's folder, upper: a tmpfs) covers the folder
of libraries; its program loads the largest libraries there, as the dynamic linker does, and reads part of each. An overlay gives
every mount a device number of its own, so that to `/proc/PID/maps` the libraries of two containers are different files; their
frames are the same, and by these the audit unites them. The image is this Python's own packages: 149 MB of shared objects.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.application import Figure, MappedFile, Stage, Watched
from mshare_bench.domain.units import MIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import CapabilityError
from mshare_bench.workloads.apps._told import answers, tell
from mshare_bench.workloads.registry import workload

__all__ = ["APP_CONTAINERS", "ContainersDriver"]

_SCRIPT = """set -e
mount -t tmpfs mshare-bench "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay mshare-bench -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$2"
shift 2
exec "$@"
"""


class ContainersDriver:
    """Starts the containers, lets their programs load."""

    def __init__(self) -> None:
        self._image = ""
        self._programs: list[subprocess.Popen[bytes]] = []

    def lack(self, stage: Stage) -> str | None:
        """`unshare` and the rights to mount."""
        if shutil.which("unshare") is None:
            return "unshare is not installed; on Debian: apt-get install util-linux"
        if os.geteuid() != 0:
            return "mounting an overlay for each container takes root"
        if "overlay" not in Path("/proc/filesystems").read_text():
            return "this kernel has no overlay file system (modprobe overlay)"
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """None."""
        return {}

    def start(self, stage: Stage) -> None:
        """Start all containers."""
        self._image = str(Path(sysconfig.get_path("platlib")).resolve())
        libraries = _libraries(Path(self._image), stage.workload.region_bytes)
        fraction = str(stage.workload.params["fraction"])
        upper = stage.folder / "upper"
        upper.mkdir()
        program = [sys.executable, "-S", str(Path(__file__).with_name("_container.py")), fraction, *libraries]
        for _ in range(stage.workload.processes):
            self._programs.append(
                stage.spawn(
                    ["unshare", "--mount", "--ipc", "--uts", "--propagation", "private", "sh", "-c", _SCRIPT, "container",
                     str(upper), self._image, *program],
                    name="containers",
                    environment={"PYTHONDONTWRITEBYTECODE": "1"},
                    pipe=True,
                )
            )  # fmt: skip

    def attach(self, stage: Stage) -> Watched:
        """Wait for all programs to run, with nothing loaded."""
        for one in self._programs:
            stage.wait("containers", lambda one=one: _runs(one.pid) or one.poll() is not None)  # type: ignore[misc]
        answers(self._programs, "containers")
        return Watched({"containers": [one.pid for one in self._programs]})

    def touch(self, stage: Stage) -> Watched:
        """Let all load."""
        return Watched({"containers": [one.pid for one in self._programs]}, tell(self._programs, "containers"))

    def watches(self, mapping: MappedFile) -> bool:
        """Shared objects of the image, mapped private as the dynamic linker does."""
        return not mapping.shared and mapping.path.startswith(self._image + "/") and ".so" in Path(mapping.path).name

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """None."""
        return ()

    def stop(self, stage: Stage) -> None:
        """End the programs; their mounts go with their namespaces."""
        for one in self._programs:
            if one.stdin is not None:
                one.stdin.close()


def _runs(pid: int) -> bool:
    return b"_container.py" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0container\0")[0]


def _libraries(image: Path, wanted: int) -> list[str]:
    """The largest shared objects of the image that make up so many bytes, no file twice."""
    found: dict[tuple[int, int], Path] = {}
    for one in image.rglob("*.so*"):
        if one.is_file() and not one.is_symlink():
            found.setdefault((one.stat().st_dev, one.stat().st_ino), one)
    chosen, total = [], 0
    for one in sorted(found.values(), key=lambda path: (-path.stat().st_size, str(path))):
        if one.stat().st_size <= wanted - total:
            chosen.append(str(one))
            total += one.stat().st_size
    if not chosen:
        raise CapabilityError(f"region={wanted}: no shared object in {image} is that small")
    return chosen


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    return (ProcessGroup("containers", "container", (Cohort(request.processes, (request.touch("libraries"),)),)),)


APP_CONTAINERS = workload(
    WorkloadSpec(
        name="app_containers",
        description="containers with an overlay each, from one image: the same libraries in all",
        regions=(Region("libraries", 149 * MIB),),
        main="libraries",
        build=_groups,
        processes=20,
        access=AccessPattern("fraction", fraction=0.35),
        params={"fraction": 0.35},
        driver=ContainersDriver,
        mechanisms=("private_file",),
        remark=(
            "Libraries are mapped private, so that no way of sharing tables reaches them: mshare and MAP_SHARED_PT take shared "
            "mappings only. What the rows show is what is duplicated."
        ),
    )
)
