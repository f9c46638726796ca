from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.access import PATTERNS
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sim.accounting import account, setting_of
from mshare_bench.sim.work import WORK_PHASES, shares_of
from mshare_bench.workloads.registry import workloads
from tests.sim.points import point

FAULTS = (
    "fault_read", "fault_page", "fault_write", "fault_hole", "fault_anonymous", "fault_ksm", "fault_copy",
    "fault_copy_file", "fault_read_file", "fault_write_file", "fault_huge", "fault_huge_hole", "fault_huge_anonymous",
    "fault_hugetlb", "fault_hugetlb_hole",
)  # fmt: skip


def shares(one):
    return shares_of(setting_of(one))


def phase(share, name):
    work = share.phases[WORK_PHASES.index(name)]
    return None if work is None else dict(work.counts)


def total(one, *names):
    return sum(share.processes * phase(share, "touch").get(name, 0) for share in shares(one) for name in names)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(mechanisms())),
    processes=st.integers(1, 40),
    pages=st.integers(1, 4000),
    kind=st.sampled_from(PATTERNS),
    writes=st.sampled_from((0.0, 0.5, 1.0)),
    populate=st.sampled_from(("controller", "first_touch")),
)
def test_faults_are_those_that_the_accounting_counts(name, processes, pages, kind, writes, populate):
    """What is priced is what the kernel was seen to do: the counts of `accounting`, which equal the kernel's."""
    one = point(name, processes, pages * 4096, access=kind, write_fraction=writes, populate=populate)
    try:
        counted = account(one)
    except ConfigError:
        return
    if name == "inherit":  # the parent's faults are its own; its children's are the copies
        if processes > 1:
            copies = counted.total("minor_faults") - one.workload.groups[0].cohorts[0].touches[0].touched.count
            assert total(one, "fault_copy") == copies
        return
    linked = total(one, "fault_link") if name == "hugetlb" else 0
    if name == "private_file" and 0 < writes:
        return  # a page that is read in a window that a write has mapped is fault-free in both; windows differ by one
    assert total(one, *FAULTS) + linked == pytest.approx(counted.total("minor_faults"), abs=processes)
    if name == "mshare":
        # The first one links too, with the fault that builds the tables.
        assert total(one, "fault_link") == counted.total("linking_faults") - (counted.total("linking_faults") > 0)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(set(mechanisms()) - {"inherit"})),
    processes=st.integers(1, 40),
    pages=st.integers(1, 4000),
    kind=st.sampled_from(PATTERNS),
)
def test_tables_that_are_allocated_are_those_that_the_accounting_counts(name, processes, pages, kind):
    one = point(name, processes, pages * 4096, access=kind)
    try:
        counted = account(one)
    except ConfigError:
        return
    assert total(one, "table_allocate") == counted.tables.pages


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(mechanisms())),
    workload=st.sampled_from(sorted(workloads())),
    processes=st.integers(1, 30),
)
def test_every_process_of_every_workload_has_its_share(name, workload, processes):
    one = point(name, processes, workload=workload)
    try:
        account(one)
    except ConfigError:
        return
    found = shares(one)
    parents = 1 if setting_of(one).traits.inherited else 0
    assert sum(share.processes for share in found) == one.workload.processes - parents
    for share in found:
        assert share.processes > 0
        for work in share.phases:
            for cost, count in work.counts if work is not None else ():
                assert cost in UNIT_COSTS and count >= 0, (cost, count)


def test_what_all_share_is_built_by_the_first():
    first, others = shares(point("mshare", 10, GIB))
    assert (first.processes, others.processes) == (1, 9)
    assert phase(first, "touch")["table_allocate"] == 514
    assert "table_allocate" not in phase(others, "touch")
    assert phase(others, "touch")["fault_link"] == 1
    assert phase(others, "touch")["access"] == 262_144
    assert phase(others, "protect") is None  # msharefs refuses it


def test_on_one_address_space_one_maps_and_unmaps_for_all():
    first, others = shares(point("shared_mm", 10, GIB))
    assert not first.idle
    assert others.idle == {"attach", "protect", "unmap"}
    assert phase(others, "exit") == {"timer": 1, "task_exit": 1}


def test_a_sharer_of_a_pmd_page_lets_go_of_it_and_does_nothing_per_page():
    _, others = shares(point("hugetlb", 10, GIB))
    assert phase(others, "touch")["fault_link"] == 1
    assert phase(others, "protect") == {"timer": 1, "vma_protect": 1, "hugetlb_unshare": 1}


def test_fork_copies_what_is_private_and_nothing_that_is_shared():
    (children,) = shares(point("inherit", 5, 64 * MIB, write_fraction=0.25))
    assert children.processes == 4
    assert phase(children, "fork")["pte_copy"] == 16_384
    assert phase(children, "fork")["table_copy"] == 34
    assert phase(children, "touch")["page_copy"] == 4_096
    (refault,) = shares(point("inherit", 5, 64 * MIB, memory="shared"))
    assert "pte_copy" not in phase(refault, "fork")
    assert phase(refault, "touch")["fault_read"] == 1_024
    (shared,) = shares(point("inherit", 5, 64 * MIB, tables="shared"))
    assert phase(shared, "fork")["table_share"] == 32
    assert "pte_copy" not in phase(shared, "fork")
    (plain,) = shares(point("shmem", 5, 64 * MIB))
    assert phase(plain, "fork") == {"timer": 1, "fork": 1, "vma_copy": 1}
    (huge,) = shares(point("anon_thp", 5, 64 * MIB))
    assert phase(huge, "fork")["huge_copy"] == 32
    (read,) = shares(point("private_file", 5, 64 * MIB))
    assert "pte_copy" not in phase(read, "fork")
    (written,) = shares(point("private_file", 5, 64 * MIB, write_fraction=0.5))
    assert phase(written, "fork")["pte_copy"] == 16_384


def test_data_that_is_not_there_is_filled_in_by_the_first():
    first, others = shares(replace(point("shmem", 3, 64 * MIB), populate="first_touch"))
    assert phase(first, "touch")["fault_hole"] == phase(first, "touch")["frame_zero"] == 16_384
    assert phase(others, "touch")["fault_read"] == 1_024
