"""Fault rules against figures that were read off a kernel; the random comparison with the running kernel is in tests/real."""

import pytest

from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.sim.accounting import account
from tests.sim.points import point


def faults(*args, **kwargs):
    return account(point(*args, **kwargs)).total("minor_faults")


# Linux 6.18, x86-64: 256 MiB of memfd.
@pytest.mark.parametrize(
    ("expected", "kwargs"),
    [
        (4096, {}),
        (4097, {"offset": 12 * KIB}),
        (65_536, {"write_fraction": 1.0}),
        (65_536, {"populate": "first_touch"}),
    ],
)
def test_one_process(expected, kwargs):
    assert faults("shmem", 1, 256 * MIB, **kwargs) == expected


def test_only_the_first_process_meets_holes():
    assert faults("shmem", 3, 256 * MIB, populate="first_touch") == 65_536 + 2 * 4096


def test_one_address_space_faults_once():
    assert faults("shared_mm", 100, 256 * MIB) == 4096
    assert faults("mshare", 100, 256 * MIB) == 4096


def test_huge_pages():
    assert faults("thp", 2, 256 * MIB) == 2 * 128
    # Not congruent with its huge pages: base pages, windows of 64 KiB.
    assert faults("thp", 1, 256 * MIB, offset=4 * KIB) == 4097
    assert faults("hugetlb", 1, GIB, page=GIB) == 1


def test_the_first_window_of_a_mapping_reaches_on():
    # A mapping that starts 3 pages into a window: reading its pages 0 and 13..15 is one fault, not two (do_fault_around).
    from mshare_bench.domain.access import AccessPattern

    stride = AccessPattern.of("stride", step="52KiB")  # pages 0, 13, 26, ...
    assert faults("shmem", 1, 56 * KIB, offset=12 * KIB, access=stride) == 1
    assert faults("shmem", 1, 56 * KIB, offset=0, access=stride) == 1
    assert faults("shmem", 1, 64 * KIB, offset=8 * KIB, access=AccessPattern.of("stride", step="60KiB")) == 1
