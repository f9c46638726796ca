from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.access import PATTERNS, AccessPattern
from mshare_bench.domain.geometry import X86_64, Level
from mshare_bench.domain.units import GIB, KIB, MIB, TIB
from mshare_bench.domain.workload import placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sim.accounting import account
from mshare_bench.workloads.registry import workloads
from tests.sim.points import point

PRIVATE = ("shmem", "thp")


def tables(*args, **kwargs):
    return account(point(*args, **kwargs)).tables


def test_the_article_that_started_this():
    # "Shared Memory, Shared Page Tables": 10,000 processes, 1 GiB, about 2 MB each, ~20 GB; a few MB with one copy.
    assert account(point("shmem", 10_000, GIB)).page_table_bytes == 21_053_440_000
    assert account(point("mshare", 10_000, GIB)).page_table_bytes == 2_105_344
    hugetlb = tables("hugetlb", 10_000, GIB)
    assert (hugetlb.pte, hugetlb.pmd, hugetlb.pud) == (0, 1, 10_000)


def test_oracle_sga():
    # mshare cover letters: 1,500 clients of a 300 GiB SGA, "878GB+" of PTEs.
    found = tables("shmem", 1500, 300 * GIB)
    assert round(found.pte * 4 * KIB / GIB, 3) == 878.906
    assert tables("mshare", 1500, 300 * GIB).pte * 4 * KIB / GIB == pytest.approx(0.586, abs=5e-4)


@pytest.mark.parametrize("mechanism", PRIVATE)
@settings(max_examples=60, deadline=None)
@given(
    pages=st.integers(1, 3000),
    offset=st.integers(0, 1 << 19),
    kind=st.sampled_from(PATTERNS),
    processes=st.integers(1, 50),
)
def test_tables_are_the_spans_that_hold_a_touched_page(mechanism, pages, offset, kind, processes):
    """Against a list of every touched address: private tables, base pages or 2 MiB pages where congruent."""
    one = point(mechanism, processes, pages * 4096, offset=offset * 4096, access=kind)
    (placed,) = placed_regions(one.workload, one.offset)
    touched = one.workload.groups[0].cohorts[0].touches[0].touched.pages() * 4096
    addresses = placed.address + touched
    huge_end = placed.region.size // (2 * MIB) * 2 * MIB if mechanism == "thp" and one.offset % (2 * MIB) == 0 else 0
    small = addresses[touched >= huge_end]
    found = account(one).tables
    assert found.pte == processes * len(np.unique(small // (2 * MIB)))
    assert found.pmd == processes * len(np.unique(addresses // GIB))
    assert found.pud == processes * len(np.unique(addresses // (512 * GIB)))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(mechanisms())),
    workload=st.sampled_from(sorted(workloads())),
    processes=st.integers(1, 60),
    more=st.integers(0, 60),
)
def test_more_processes_never_need_fewer_tables(name, workload, processes, more):
    spec = workloads()[workload]
    try:
        # The same memory for both: what each of several instances holds must not shrink as processes are added.
        few = point(name, processes, workload=workload, region=64 * MIB * len(spec.regions))
        many = point(name, processes + more, workload=workload, region=64 * MIB * len(spec.regions))
        if few.workload.regions != many.workload.regions:
            return
        assert account(few).page_table_bytes <= account(many).page_table_bytes
    except ConfigError:
        assert name in ("hugetlb", "mshare")


@settings(max_examples=40, deadline=None)
@given(pages=st.integers(1, 1 << 20), processes=st.integers(1, 1000), kind=st.sampled_from(PATTERNS))
def test_mshare_is_never_above_shmem_and_equals_it_for_one(pages, processes, kind):
    shmem = account(point("shmem", processes, pages * 4096, access=kind))
    mshare = account(point("mshare", processes, pages * 4096, access=kind))
    assert mshare.page_table_bytes <= shmem.page_table_bytes
    if processes == 1:
        assert mshare.tables == shmem.tables
    assert mshare.page_table_bytes == account(point("shared_mm", processes, pages * 4096, access=kind)).page_table_bytes
    assert mshare.total("linking_faults") == (
        processes if account(point("shmem", 1, pages * 4096, access=kind)).tables.pud else 0
    )


def test_hugetlb_shares_whole_aligned_slots_only():
    aligned = tables("hugetlb", 1000, 2 * GIB)
    assert (aligned.pmd, aligned.pud) == (2, 1000)
    shifted = tables("hugetlb", 1000, 2 * GIB, offset=2 * MIB)  # one whole slot inside, and two parts
    assert shifted.pmd == 1 + 2 * 1000
    off = tables("hugetlb", 1000, 2 * GIB, pmd_sharing=False)
    assert off.pmd == 2000
    gigantic = tables("hugetlb", 1000, 2 * GIB, page=GIB)
    assert (gigantic.pte, gigantic.pmd, gigantic.pud) == (0, 0, 1000)


def test_faults_of_shared_pmd_tables_are_512_and_then_one_each():
    assert account(point("hugetlb", 1000, GIB)).total("minor_faults") == 512 + 999


def test_straddling_a_slot_takes_two_pud_pages():
    assert tables("shmem", 1, TIB).pud == 2
    assert tables("shmem", 1, TIB, offset=4096).pud == 3


def test_the_flag_keeps_upper_levels_per_process():
    found = account(point("mshare", 64, GIB, interface="flag"))
    assert (found.tables.pte, found.tables.pmd, found.tables.pud) == (512, 65, 65)  # and the kernel's own
    assert found.total("linking_faults") == 64 * 512


def test_adjoining_regions_meet_in_one_table():
    libraries = point("shmem", 1, workload="container_libs", access="dense")
    found = account(libraries)
    placed = placed_regions(libraries.workload)
    length = placed[-1].address + placed[-1].region.size - placed[0].address
    assert found.tables.pte == X86_64.tables(placed[0].address, length, Level.PTE)
    assert (found.tables.pmd, found.tables.pud) == (1, 1)


def test_regions_add_up_to_the_whole():
    found = account(point("shmem", 10, workload="hpc_ranks"))
    assert sum(one.tables.pages for one in found.regions) * 4096 == found.page_table_bytes


def test_a_region_that_the_mechanism_cannot_map_names_key_and_value():
    with pytest.raises(ConfigError, match=r"region=4096: not a multiple of the page, 2MiB"):
        account(point("hugetlb", 1, 4096))
    with pytest.raises(ConfigError, match=r"offset=4096: msharefs"):
        account(point("mshare", 1, GIB, offset=4096))
    with pytest.raises(ConfigError, match="address space"):
        account(point("shmem", 1, 200 * TIB))


def test_data_is_there_once_where_it_is_shared():
    assert account(point("shmem", 50, GIB)).total("data_bytes") == GIB
    half = replace(point("shmem", 50, GIB, access=AccessPattern("fraction", fraction=0.5)), populate="first_touch")
    assert account(half).total("data_bytes") == GIB // 2


def test_msharefs_gives_away_whole_windows_of_address_space():
    assert account(point("mshare", 4, 64 * MIB)).address_space_bytes == 512 * GIB
    assert account(point("mshare", 4, 64 * MIB, interface="flag")).address_space_bytes == 64 * MIB
    assert account(point("shmem", 4, TIB)).address_space_bytes == TIB
    # Forty libraries, one behind the other, take one window together.
    assert account(point("mshare", 4, workload="container_libs")).address_space_bytes == 512 * GIB


def test_the_ideal_copies_what_is_written_privately_and_the_tables_it_writes_through():
    shared = account(point("mshare", 10, GIB, interface="ideal"))
    private = account(
        point("mshare", 10, GIB, interface="ideal", mapping="private", access="sparse", write_fraction=0.5)
    )
    assert private.tables.pte == 512 + 10 * 256
    assert private.tables.pmd == 1 + 10
    assert private.total("data_bytes") == (512 + 10 * 256) * 4096
    assert shared.tables.pte == 512
    assert private.traits.basis == "hypothetical"
