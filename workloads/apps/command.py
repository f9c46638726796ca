"""Any program of the user's own: started from an argument list, warmed up, loaded by another argument list, watched, ended.

    mshare-bench run workload=app_command 'workload.start=[prog,arg]' 'workload.load=[prog,arg]'

There is no shell. The lists are taken from the command line (or the keywords of `mshare_bench.run`) only, never from a
configuration file: such a file can be somebody else's. Watched are all processes that the program has started and that still
run, and of their mappings those that are MAP_SHARED (`workload.watch=PATTERN` for others, by path). The first reading is after
`workload.warmup`; the second `workload.duration` after the load has ended, or after the first where there is no load. Then the
program is ended by SIGTERM, or by `workload.stop`. How many processes there are, and how much they share, the rows say as found.
"""

import fnmatch
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import GIB, parse_duration
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import CellFailed, ConfigError
from mshare_bench.workloads.registry import workload

__all__ = ["APP_COMMAND", "CommandDriver"]


class CommandDriver:
    """Starts a command, runs another against it."""

    def __init__(self) -> None:
        self._pattern: str | None = None
        self._load_seconds: float | None = None

    def lack(self, stage: Stage) -> str | None:
        """Nothing that can be known before it starts."""
        self._pattern = stage.workload.params["watch"]
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """None: what it maps is its own matter."""
        return {}

    def start(self, stage: Stage) -> None:
        """Start it and let it warm up."""
        stage.spawn(stage.workload.params["start"], name="start")
        self._pass(stage, "warmup")

    def attach(self, stage: Stage) -> Watched:
        """The processes that are there after the warm-up."""
        return Watched({"processes": self._processes(stage)})

    def touch(self, stage: Stage) -> Watched:
        """Run the load to its end, and wait."""
        start, taken = time.perf_counter_ns(), 0
        load = stage.workload.params["load"]
        if load:
            stage.run(load, name="load")
            taken = time.perf_counter_ns() - start
            self._load_seconds = taken / 1e9
        self._pass(stage, "duration")
        return Watched({"processes": self._processes(stage)}, Timing([taken], taken) if load else None)

    def watches(self, mapping: MappedFile) -> bool:
        """Shared memory and shared files, no devices; with a pattern what matches it."""
        if self._pattern is not None:
            return fnmatch.fnmatchcase(mapping.path.removesuffix(" (deleted)"), self._pattern)
        device = mapping.path.startswith("/dev/") and not mapping.path.startswith(("/dev/shm/", "/dev/zero"))
        return mapping.shared and mapping.inode != 0 and not device

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """How long the load took."""
        return (Figure("load", self._load_seconds, "s", "lower"),) if self._load_seconds is not None else ()

    def stop(self, stage: Stage) -> None:
        """Run the command that ends it, where there is one."""
        if stage.workload.params["stop"]:
            stage.run(stage.workload.params["stop"], name="stop")

    def _pass(self, stage: Stage, key: str) -> None:
        until = time.monotonic() + parse_duration(stage.workload.params[key], f"workload.{key}") / 1e9
        stage.wait(f"workload.{key}", lambda: time.monotonic() >= until)

    def _processes(self, stage: Stage) -> list[int]:
        found = stage.pids()
        if not found:
            raise CellFailed(f"workload.start={stage.workload.params['start'][0]}: no process of it is left to watch")
        return found


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    for key in ("start", "load", "stop"):
        value = request.params[key]
        if value is None:
            continue
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(one, str | int | float) for one in value)
        ):
            raise ConfigError(
                f"workload.{key}={value}: must be a list of a program and its arguments, such as [prog,arg]"
            )
        request.params[key] = [str(one) for one in value]
    for key in ("warmup", "duration"):
        parse_duration(request.params[key], f"workload.{key}")
    return (ProcessGroup("processes", "process", (Cohort(request.processes, (request.touch("observed"),)),)),)


_DEFAULTS: dict[str, Any] = {"start": None, "load": None, "stop": None, "warmup": "1s", "duration": "2s", "watch": None}

APP_COMMAND = workload(
    WorkloadSpec(
        name="app_command",
        description="a command line of your own, started, loaded, watched and ended: workload.start=[prog,arg]",
        regions=(Region("observed", GIB),),
        main="observed",
        build=_groups,
        processes=1,
        params=_DEFAULTS,
        driver=CommandDriver,
        required=("start",),
        copies=2,
        mechanisms=("shmem",),
        beside=("hugetlb", "mshare"),
    )
)
