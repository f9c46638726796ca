"""Bundles hold every process once; the parts of a workload count what the whole counts."""

from dataclasses import replace

import pytest

from mshare_bench.sim.accounting import account
from mshare_bench.sim.bundles import Bundle, bundles_of, part_of
from mshare_bench.sim.points import make_point

MIB = 1 << 20


@pytest.mark.parametrize("workload", ["region", "db_buffer_pool", "hpc_ranks", "vm_hosts", "redis_cluster"])
@pytest.mark.parametrize("processes", [1, 7, 40, 1300])
def test_every_process_is_in_one_bundle(workload: str, processes: int) -> None:
    made = make_point("shmem", processes, 64 * MIB, workload=workload).workload
    bundles = bundles_of(made, 4)
    counts: dict[str, int] = {}
    for bundle in bundles:
        for group, size in bundle.groups:
            counts[group] = counts.get(group, 0) + size * bundle.count
    assert counts == {group.name: group.processes for group in made.groups}
    assert max(bundle.count for bundle in bundles) <= max(512, processes // 2)  # an instance is never cut


def test_guests_stay_with_their_peers() -> None:
    made = make_point("shmem", 34, 64 * MIB, workload="vm_hosts").workload
    assert bundles_of(made, 2) == (
        Bundle((("monitors", 1), ("peers", 4)), 2, 1),
        Bundle((("monitors", 1), ("peers", 3)), 6, 1),
    )


def test_exclusive_processes_go_one_by_one() -> None:
    made = make_point("shmem", 2000, 64 * MIB).workload
    assert bundles_of(made, 2, single=True) == (Bundle((("all", 1),), 2000),)
    assert bundles_of(made, 2) == (Bundle((("all", 4),), 500),)


@pytest.mark.parametrize("workload", ["region", "db_buffer_pool", "hpc_ranks", "container_libs"])
def test_private_tables_of_the_parts_are_those_of_the_whole(workload: str) -> None:
    point = make_point("shmem", 24, 96 * MIB, workload=workload)
    parts = []
    for start in range(0, 24, 6):
        runs, first = {}, 0
        for group in point.workload.groups:
            low, high = max(start - first, 0), min(start + 6 - first, group.processes)
            if low < high:
                runs[group.name] = ((low, high),)
            first += group.processes
        parts.append(part_of(point.workload, runs))
    assert sum(part.processes for part in parts) == 24
    whole = account(point).page_table_bytes
    assert sum(account(replace(point, workload=part)).page_table_bytes for part in parts) == whole


def test_a_slice_goes_with_its_rank() -> None:
    made = make_point("shmem", 16, 64 * MIB, workload="hpc_ranks").workload
    (cohort,) = part_of(made, {"ranks": ((5, 6),)}).groups[0].cohorts
    (window,) = [touch for touch in cohort.touches if touch.region == "window"]
    inner = made.groups[0].cohorts[1].touches[0]
    assert window.touched == inner.shifted(4).touched
