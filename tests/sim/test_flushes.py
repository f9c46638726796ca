"""How many flushes, and how many CPUs are interrupted: by hand, for ten processes on four CPUs."""

import pytest

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.flushes import Flushes, flushes_of
from tests.sim.points import point


def count(mechanism, processes=10, region=4 * MIB, cpus=4, **rest):
    return flushes_of(setting_of(point(mechanism, processes, region, **rest)), cpus)


@pytest.mark.parametrize(
    ("mechanism", "options", "expected"),
    [
        ("shmem", {}, Flushes(20, 0)),  # each protects and unmaps its own, on its own CPU
        ("shared_mm", {}, Flushes(2, 6)),  # one for all, and three other CPUs run the others
        ("mshare", {}, Flushes(10, 0)),  # msharefs has no mprotect of a window; unmapping it drops a link
        ("mshare", {"interface": "flag"}, Flushes(11, 3)),
        ("mshare", {"interface": "flag", "flush": "cpumask"}, Flushes(11, 3)),
        ("mshare", {"interface": "flag", "flush": "list"}, Flushes(20, 7)),  # three of the ten are on the first CPU
        ("mshare", {"interface": "ideal"}, Flushes(11, 3)),
        ("mshare", {"interface": "ideal", "mapping": "private"}, Flushes(10, 0)),  # only read: nothing was writable
        ("mshare", {"interface": "ideal", "mapping": "private", "write_fraction": 0.5}, Flushes(11, 3)),
        ("mshare", {"interface": "module"}, Flushes(10, 0)),  # no mprotect either
        ("private_file", {}, Flushes(10, 0)),
        ("private_file", {"write_fraction": 0.5}, Flushes(20, 0)),
        ("file", {}, Flushes(10, 0)),
        ("anon_thp", {}, Flushes(20, 0)),
    ],
)
def test_flushes_and_interrupts(mechanism, options, expected):
    assert count(mechanism, **options) == expected


def test_the_three_designs_part_where_sharers_are_fewer_or_more_than_cpus():
    for processes, interrupts in (
        (3, {"all": 63, "cpumask": 2, "list": 2}),
        (1000, {"all": 63, "cpumask": 63, "list": 984}),
    ):
        for design, expected in interrupts.items():
            assert count("mshare", processes, cpus=64, interface="flag", flush=design).interrupts == expected


def test_shared_pmd_tables_are_left_slot_by_slot():
    # Nine leave two slots each, then unmap; the last changes its entries in one call.
    assert count("hugetlb", region=2 * GIB, access="sparse") == Flushes(9 * 2 + 1 + 10, 0)
    assert count("hugetlb", region=2 * GIB, access="sparse", pmd_sharing=False) == Flushes(20, 0)


def test_each_instance_of_a_region_has_sharers_of_its_own():
    workload = {"workload": "vm_hosts", "interface": "flag"}
    one = point("mshare", 8, 64 * MIB, **workload)
    instances = max(region.instances for region in one.workload.regions)
    assert instances > 1
    each = count("mshare", 8, 64 * MIB, flush="cpumask", **workload)
    listed = count("mshare", 8, 64 * MIB, flush="list", **workload)
    mappers = sum(cohort.processes * len(cohort.touches) for group in one.workload.groups for cohort in group.cohorts)
    assert listed.ordered == 2 * mappers
    assert mappers < each.ordered < listed.ordered


def test_what_is_not_counted_is_not_zero():
    assert count("inherit") is None
    assert count("ksm") is None
    assert count("shared_mm", cpus=None) == Flushes(2, None)
    assert count("shmem", cpus=None) == Flushes(20, 0)  # nobody else has them, whatever the machine
