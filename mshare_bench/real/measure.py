"""Runs one casting phase by phase and reads the kernel's counters around it."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CellFailed
from mshare_bench.real.agent.protocol import Spawn
from mshare_bench.real.counters.page_tables import settle
from mshare_bench.real.counters.vmpte import vm_pte_bytes
from mshare_bench.real.counters.vmstat import oom_kills
from mshare_bench.real.launch import Binding, ProcessTree
from mshare_bench.real.programs import Casting

__all__ = ["Measurement", "Times", "measure", "page_table_noise"]

_QUIET_S = 0.05
_NOISE_READINGS = 5


@dataclass(frozen=True, slots=True)
class Times:
    """One phase: what each process took and its faults; arrays of shape (processes,), and the wall time of all."""

    duration_ns: NDArray[np.int64]
    minor_faults: NDArray[np.int64]
    wall_ns: int
    page_table_bytes: int | None = None


@dataclass(slots=True)
class Measurement:
    """What a cell showed.

    Attributes
    ----------
    vm_pte_bytes
        `VmPTE` over all address spaces after touch, less what they had before attach.
    page_tables_bytes
        The same by the machine's `PageTables`; None where it can't be read.
    data_bytes
        Bytes that the backing files hold.
    phases
        By phase, in order.
    """

    vm_pte_bytes: int = 0
    page_tables_bytes: int | None = None
    data_bytes: int | None = None
    phases: dict[str, Times] = field(default_factory=dict)


def measure(
    casting: Casting,
    fds: Sequence[int],
    spawn: Spawn,
    *,
    one_by_one: bool,
    cgroup: str | None = None,
    parallel: int | None = None,
    timeout: float = 120.0,
) -> Measurement:
    """Run a casting.

    Parameters
    ----------
    one_by_one
        Whether one process touches after the other, because the counts depend on the order: data that is not there beforehand,
        tables that all share.
    cgroup
        Path of the `procs` file of the cgroup that the agents join.

    Raises
    ------
    CellFailed
        When an agent dies, a wait times out, or the OOM killer was at work meanwhile.
    """
    processes = len(casting.assignment) - 1
    cpus = sorted(os.sched_getaffinity(0))
    # An agent hands its turn to the one `parallel` places on, so each of these chains stays on one CPU.
    bindings = [Binding(cpus=frozenset({cpu})) for cpu in cpus]
    placement = np.arange(processes + 1) % len(cpus)
    parallel = min(parallel or len(cpus), processes)
    touching = 1 if one_by_one else parallel
    killed_before = oom_kills()
    result = Measurement()
    with ProcessTree(
        casting.programs,
        processes + 1,
        casting.assignment,
        fds=fds,
        spawn=spawn,
        parallel=parallel,
        bindings=bindings,
        binding=placement,
        cgroup=cgroup,
        nice=0,
        timeout=timeout,
    ) as tree:
        launched = tree.launch()[:processes]
        result.phases["launch"] = _times(launched)
        tree.run("populate", processes, processes + 1, parallel=1)
        distinct = spawn == Spawn.FORK
        pids = [int(pid) for pid in (tree.pids[:processes] if distinct else tree.pids[:1])]
        own_before, all_before = vm_pte_bytes(pids, distinct=True), _settled()
        attached = tree.run("attach", 0, processes)
        result.phases["attach"] = _times(attached, 0)
        written = tree.run("write", 0, processes, parallel=touching)
        read = tree.run("read", 0, processes, parallel=touching)
        result.vm_pte_bytes = vm_pte_bytes(pids, distinct=True) - own_before
        all_after = _settled()
        if all_before is not None and all_after is not None:
            result.page_tables_bytes = all_after - all_before
        result.data_bytes = _held(fds)
        result.phases["touch"] = _touch_times(written, read, result.vm_pte_bytes)
        for phase in ("protect", "unmap"):
            result.phases[phase] = _times(tree.run(phase, 0, processes))
        result.phases["exit"] = _times(tree.exit()[:processes])
    killed = oom_kills()
    if killed is not None and killed_before is not None and killed > killed_before:
        raise CellFailed(f"the OOM killer took {killed - killed_before} processes while the cell ran")
    return result


def page_table_noise() -> int:
    """What the machine's `PageTables` moves by itself: the widest of a few readings while nothing of ours runs."""
    readings = []
    for _ in range(_NOISE_READINGS):
        reading = _settled()
        if reading is not None:
            readings.append(reading)
        time.sleep(_QUIET_S)
    return max(readings) - min(readings) if readings else 0


def _settled() -> int | None:
    """`PageTables` once it stands still; None where its batches can't be folded in, since it may then lag by megabytes."""
    reading = settle(timeout_s=2.0, quiet_s=_QUIET_S)
    return reading.page_table_bytes if reading.refreshed else None


def _held(fds: Sequence[int]) -> int | None:
    return sum(os.fstat(fd).st_blocks * 512 for fd in fds) if fds else None


def _times(results: NDArray[np.void], page_table_bytes: int | None = None) -> Times:
    starts, durations = results["start_ns"], results["duration_ns"]
    wall = int((starts + durations).max() - starts.min()) if len(results) else 0
    return Times(durations.astype(np.int64), results["minor_faults"].astype(np.int64), wall, page_table_bytes)


def _touch_times(written: NDArray[np.void], read: NDArray[np.void], page_table_bytes: int) -> Times:
    """Writes and reads are one phase to the outside; the pause between them is nobody's time."""
    first, second = _times(written), _times(read)
    return Times(
        first.duration_ns + second.duration_ns,
        first.minor_faults + second.minor_faults,
        first.wall_ns + second.wall_ns,
        page_table_bytes,
    )
