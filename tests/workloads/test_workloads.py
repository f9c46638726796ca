"""Every workload: its numbers are what was asked for, its cohorts count all processes, its slices cover its memory."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.domain.workload import placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.workloads import registry
from mshare_bench.workloads.registry import workloads


def test_one_file_and_one_yaml_each():
    folder = Path(registry.__file__).parent
    files = {path.stem for path in folder.glob("[a-z]*.py")} - {"registry"}
    files |= {f"app_{path.stem}" for path in (folder / "apps").glob("[a-z]*.py")}
    yamls = {path.stem for path in (folder.parent / "conf" / "workload").glob("*.yaml")}
    assert set(workloads()) == files == yamls


@pytest.mark.parametrize("name", sorted(workloads()))
@settings(max_examples=30, deadline=None)
@given(processes=st.integers(1, 300), mib=st.integers(64, 5000))
def test_numbers_are_what_was_asked_for(name, processes, mib):
    one = workloads()[name].resolve(processes=processes, region=mib * MIB)
    assert one.processes == processes
    # Spread over instances, a region loses at most a page each.
    instances = sum(region.instances for region in one.regions)
    assert mib * MIB - instances * 4096 < one.region_bytes <= mib * MIB
    regions = {region.name: region for region in one.regions}
    assert one.main in regions
    touched = {touch.region for group in one.groups for cohort in group.cohorts for touch in cohort.touches}
    assert touched == set(regions)
    for group in one.groups:
        for cohort in group.cohorts:
            for touch in cohort.touches:
                pages = regions[touch.region].size // 4096
                last = touch.shifted(cohort.processes - 1).touched.spans(0, 1).last
                assert last is None or last < pages


@pytest.mark.parametrize(
    ("total", "whole"), [(2 * GIB, True), (256 * MIB, True), (2 * GIB + 4096, False), (4 * MIB, False)]
)
def test_regions_that_are_whole_huge_pages_stay_so(total, whole):
    one = workloads()["hpc_ranks"].resolve(processes=64, region=total)
    assert one.region_bytes == total
    assert all(region.size % (2 * MIB) == 0 for region in one.regions) == whole
    window, table = (region.size for region in one.regions)
    assert abs(window - 4 * table) <= 5 * (2 * MIB if whole else 4096)


def test_libraries_keep_their_odd_sizes():
    one = workloads()["container_libs"].resolve(region=GIB)
    assert any(region.size % (2 * MIB) for region in one.regions)


@pytest.mark.parametrize("name", sorted(workloads()))
def test_written_and_read_make_up_touched(name):
    one = workloads()[name].resolve(region=64 * MIB * len(workloads()[name].regions))
    for group in one.groups:
        for cohort in group.cohorts:
            for touch in cohort.touches:
                parts = np.sort(np.concatenate([touch.written.pages(), touch.read.pages()]))
                assert np.array_equal(parts, touch.touched.pages())


def test_ranks_write_every_page_of_the_window_once():
    one = workloads()["hpc_ranks"].resolve(processes=16, region=80 * MIB)
    written = np.concatenate(
        [
            cohort.touches[0].shifted(index).written.pages()
            for cohort in one.groups[0].cohorts
            for index in range(cohort.processes)
        ]
    )
    window = one.region("window").size // 4096
    assert np.array_equal(np.sort(written), np.arange(window // 16 * 16))


def test_regions_start_in_slots_of_their_own_or_adjoin():
    ranks = placed_regions(workloads()["hpc_ranks"].resolve(), offset=4096)
    assert [one.address % (512 * GIB) for one in ranks] == [4096, 4096]
    libraries = placed_regions(workloads()["container_libs"].resolve())
    for before, after in pairwise(libraries):
        assert after.address == before.address + before.region.size


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("region", {"params": {"guests": 3}}, "workload.guests=3"),
        ("region", {"processes": 0}, "processes=0"),
        ("region", {"region": 1000}, "region=1000"),
        ("region", {"sizes": {"heap": 4096}}, "workload.regions.heap.size=4096"),
        ("region", {"write_fraction": 1.5}, "write_fraction=1.5"),
        ("hpc_ranks", {"processes": 10_000, "region": MIB}, "processes=10000"),
        ("vm_hosts", {"params": {"peers": -1}}, "workload.peers=-1"),
    ],
)
def test_bad_numbers_name_key_and_value(name, values, said):
    with pytest.raises(ConfigError, match=said):
        workloads()[name].resolve(**values)
