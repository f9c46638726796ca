"""Values that a driver of a real program and whoever watches it hand to each other."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mshare_bench.domain.workload import Workload

__all__ = ["Figure", "MappedFile", "Spawn", "Stage", "Timing", "Watched"]


@dataclass(frozen=True, slots=True)
class MappedFile:
    """One mapping of a process, as `/proc/PID/maps` has it.

    Attributes
    ----------
    start, end
        Addresses.
    offset
        Where in the object it starts, bytes.
    shared
        Whether it is MAP_SHARED.
    inode
        0 for memory without a file.
    path
        Name of the object, empty where it has none.
    """

    start: int
    end: int
    offset: int
    shared: bool
    inode: int
    path: str

    @property
    def size(self) -> int:
        """Bytes of address space."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a step took.

    Attributes
    ----------
    each_ns, wall_ns
        Nanoseconds of each process, and from the first start to the last end.
    phase
        Phase of the results contract that it is; empty for the step's own (`attach`, `touch`).
    """

    each_ns: Sequence[int]
    wall_ns: int
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """The processes to watch after a step of a driver.

    Attributes
    ----------
    groups
        Pids by the name of their group.
    timing
        How long it took; None where that says nothing.
    inherited
        Whether each process that was not there before is a copy, by fork, of the one at the same place of the first group: then
        it is predicted from what that one had before.
    """

    groups: Mapping[str, Sequence[int]]
    timing: Timing | None = None
    inherited: bool = False

    @property
    def pids(self) -> list[int]:
        """All of them, in order of the groups."""
        return [pid for group in self.groups.values() for pid in group]


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that the application says of itself, such as queries per second.

    Attributes
    ----------
    name
        In snake case.
    value
        None where it could not be had.
    unit
        As the results contract writes units.
    better
        `lower`, `higher` or `none`.
    """

    name: str
    value: float | None
    unit: str
    better: str = "none"


class Spawn(Protocol):
    """Starts a process that dies with this one; its output goes to a log of its name in the stage's folder."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        pipe: bool = False,
    ) -> "subprocess.Popen[bytes]":
        """Start it; with `pipe`, its standard input and output are pipes to this process."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a driver works with.

    Attributes
    ----------
    folder
        Private to this run, removed after it, also after `kill -9`.
    workload
        What to run: processes, sizes, parameters.
    mechanism
        By which its memory is to be shared; one of those that the workload offers.
    page
        Bytes of a page of that mechanism.
    timeout
        Seconds that one step may take.
    spawn
        Starts a process that dies with this one.
    run
        Runs a command to its end, as `spawn` starts it, and gives what it printed.
    wait
        `wait(what, ready)` calls `ready()` until it is true; a process that ends meanwhile fails the cell with its log's end.
    pids
        All processes of this run that are there now, those that its processes have started among them.
    """

    folder: Path
    workload: Workload
    mechanism: str
    page: int
    timeout: float
    spawn: Spawn
    run: Callable[..., str]
    wait: Callable[[str, Callable[[], bool]], None]
    pids: Callable[[], list[int]]
