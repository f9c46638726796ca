"""Watching processes from outside: against the kernel's own count, and the pattern against what was touched."""

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import MIB
from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.applications import Observation, _tables_anyway
from mshare_bench.real.counters.vmpte import vm_bytes
from mshare_bench.real.observe import (
    ObjectUse,
    Reading,
    mapped_files,
    observe,
    observed_workload,
    resident_bytes,
    tables_of,
)
from mshare_bench.sim.accounting import account
from mshare_bench.workloads.registry import workloads
from tests.requirements import require

NONE = np.empty(0, np.int64)
SPAN = 2 * MIB
DECLARED = workloads()["region"].resolve(processes=2, region=64 * MIB)
TOUCHER = """
import mmap, sys
m = mmap.mmap(-1, 64 << 20)
print(flush=True)
sys.stdin.readline()
for at in range(0, 64 << 20, int(sys.argv[1])): m[at]
print(flush=True)
sys.stdin.readline()
"""


def watched(mapping):
    return mapping.shared and mapping.size == 64 * MIB


def reading(slots, positions=None, others=NONE, pid=1, mapped=None):
    slots = np.array(slots, np.int64)
    start, end = mapped or (0, 64 * MIB)
    places = slots if positions is None else np.array(positions, np.int64)
    use = ObjectUse(slots, places, np.full(len(slots), mapped is not None), 64 * MIB, start, end)
    return Reading(pid, 0, 0, {"/x": use}, others, NONE)


@pytest.fixture
def toucher():
    started = []

    def start(step):
        process = subprocess.Popen(
            [sys.executable, "-c", TOUCHER, str(step)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        process.stdout.readline()

        def step_on():
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()

        return process.pid, step_on

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.kernel
@pytest.mark.parametrize("step", [4096, 2 * MIB, 16 * MIB])
def test_what_the_kernel_counts_is_what_the_pattern_needs(toucher, step):
    require("kernel", os.geteuid() == 0, "reading another process's pagemap takes root or the same user")
    pid, step_on = toucher(step)
    (before,) = observe([pid], watched)
    assert not len(before.slots)
    step_on()
    (after,) = observe([pid], watched)
    assert len(after.slots) == 64 * MIB // max(step, SPAN) + (step < SPAN and bool(after.slots[0] % SPAN))
    grown = after.vmpte_bytes - before.vmpte_bytes
    assert grown == (sum(after.watched_tables()) - sum(before.watched_tables())) * mmap.PAGESIZE
    assert after.vmpte_bytes == vm_bytes([pid])[0]
    assert after.minor_faults > before.minor_faults
    # The read pages of a shared mapping are in memory once, whoever else maps them.
    assert resident_bytes([pid], watched) == pytest.approx(64 * MIB * 4096 * 1 / step, abs=64 * MIB // step * 65536)


def test_tables_of_each_level_are_counted_once():
    gib = 1 << 30
    small = np.array([0, 4096, SPAN, gib, 512 * gib])
    assert tables_of(small, NONE) == (4, 3, 2)
    assert tables_of(NONE, small) == (0, 3, 2)


def test_tables_that_others_need_as_well_are_no_cost_of_the_memory():
    one = reading([SPAN, 2 * SPAN], others=np.array([SPAN + 4096, 3 * SPAN]))
    assert one.watched_tables() == (1, 0, 0)
    assert one.tables_anyway() == (1, 1, 1)


def test_places_in_huge_pages_need_no_table_of_the_lowest_level():
    # A file of which the kernel has a part in huge pages in its cache, and nobody asked for them.
    slots = np.array([SPAN, 2 * SPAN, 3 * SPAN])
    use = ObjectUse(slots, slots, np.array([True, False, True]), 64 * MIB, 0, 64 * MIB)
    one = Reading(1, 0, 0, {"/x": use}, NONE, NONE)
    assert one.watched_tables() == (1, 1, 1)
    assert one.huge_slots.tolist() == [SPAN, 3 * SPAN]
    found = Observation({}, {"a": [one, one]}, 0, 0, {}, ())
    assert _tables_anyway(found, X86_64) == [4, 0, 0]


def test_processes_that_touch_alike_are_one_cohort_at_the_place_where_they_have_it():
    start = 5 * (512 << 30) + (3 << 30) + 7 * SPAN
    alike = [start + at * SPAN for at in (0, 1, 2, 9)]
    workload, offset = observed_workload(
        DECLARED, {"a": [reading(alike), reading(alike, pid=2), reading(alike[:2], pid=3)]}, by_object=False
    )
    assert offset == 3 << 30
    assert workload.processes == 3
    assert [cohort.processes for cohort in workload.groups[0].cohorts] == [2, 1]
    touched = workload.groups[0].cohorts[0].touches[0].touched
    assert (touched.pages() * 4096 + (start // (1 << 30) << 30)).tolist() == alike
    assert touched.spans(0, 512).count == 4


@pytest.mark.parametrize(
    ("first", "size", "tables"), [(4 << 30, 1 << 30, 1), (4 << 30, 2 << 30, 2), (9 << 29, 1 << 30, 4)]
)
def test_huge_pages_lie_in_their_mapping_from_end_to_end(first, size, tables):
    # One page at its start and one at its end: whether a whole, aligned GiB lies in the mapping decides what the kernel shares.
    places = [first, first + size - SPAN]
    groups = {"a": [reading(places, mapped=(first, first + size), pid=pid) for pid in (1, 2)]}
    workload, offset = observed_workload(DECLARED, groups, by_object=False)
    assert (offset, workload.regions[0].size) == (first, size)
    found = account(Point(workload, "hugetlb", "", SPAN, offset), X86_64)
    assert found.tables.pmd == tables


def test_a_window_that_all_share_counts_places_in_the_object():
    first = reading([7 << 30], positions=[4 * SPAN + 4096])
    second = reading([9 << 30], positions=[4 * SPAN])
    workload, offset = observed_workload(DECLARED, {"a": [first, second]}, by_object=True)
    assert offset == 0
    pages = [cohort.touches[0].touched.pages().tolist() for cohort in workload.groups[0].cohorts]
    assert pages == [[4 * 512 + 1], [4 * 512]]


def test_nothing_touched_is_said():
    with pytest.raises(CapabilityError, match="workload=region: no process has touched"):
        observed_workload(DECLARED, {"a": [reading([])]}, by_object=False)


def test_own_mappings_are_listed_and_an_ended_process_is_said():
    with mmap.mmap(-1, 3 * MIB):
        found = mapped_files(os.getpid())
        assert any(one.shared and one.path.startswith("/dev/zero") and one.size == 3 * MIB for one in found)
        assert all(one.start < one.end for one in found)
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(CellFailed, match="ended"):
        mapped_files(ended.pid)
