"""What `measure` must notice while a cell runs; what it counts is compared cell by cell in `test_engine.py`."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest

from mshare_bench.domain.geometry import X86_64
from mshare_bench.errors import CellFailed
from mshare_bench.real.agent.protocol import Spawn
from mshare_bench.real.counters.ksm import ksm_state
from mshare_bench.real.measure import Measurement, measure, wait_until_merged
from mshare_bench.real.programs import cast, close_backings, open_backings
from mshare_bench.sim.accounting import mechanism_of
from mshare_bench.sim.points import make_point
from tests.requirements import require

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("agent")]


def measured(**options: object) -> Measurement:
    point = make_point("shmem", 3, 1 << 20)
    mechanism = mechanism_of(point)
    backed = open_backings(point, mechanism, X86_64)
    try:
        casting = cast(point, backed, mechanism.traits)
        given = {"one_by_one": True, "system_wide": False, **options}
        return measure(casting, backed, mechanism.traits, Spawn.FORK, **given)  # type: ignore[arg-type]
    finally:
        close_backings(backed)


def test_a_process_that_the_oom_killer_took_fails_the_cell_even_if_all_reported() -> None:
    assert measured(oom_kills=lambda: 7).phases.keys() == {
        "launch",
        "attach",
        "touch",
        "fork",
        "protect",
        "unmap",
        "exit",
    }
    kills = itertools.count()
    with pytest.raises(CellFailed, match="the OOM killer took 1 processes while the cell ran"):
        measured(oom_kills=lambda: next(kills))


def test_as_many_cpus_as_processes_run_at_a_time() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    seen: list[set[int]] = []

    def look() -> None:
        seen.append(set().union(*(os.sched_getaffinity(pid) for pid in _grandchildren())))

    for parallel in (1, None, len(cpus) + 1):
        measured(parallel=parallel, begin=look)
    assert seen == [{cpus[-1]}, set(cpus), set(cpus)]


def _grandchildren() -> list[int]:
    """The agents: the zygote's children, as the kernel lists them now."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]


def test_processes_attach_when_the_gate_opens_and_not_before() -> None:
    import time

    opened: list[int] = []
    found = measured(begin=lambda: opened.append(time.monotonic_ns()))
    assert len(opened) == 1
    assert found.attach_start_ns > opened[0]


def test_merging_that_does_not_come_to_an_end_fails_the_cell() -> None:
    require("kernel", ksm_state().get("run") != 1, "KSM runs here")
    with pytest.raises(CellFailed, match="KSM made 0 of 3 full scans within 0.1 s"):
        wait_until_merged(0.1)
