from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.knobs import More, knobs_set, nr_hugepages
from mshare_bench.real.knobs.hugepages import free_hugepages, hugepage_sizes
from tests.requirements import require


def test_sizes_are_those_of_the_kernel():
    shown = [int(folder.name[10:-2]) * 1024 for folder in Path("/sys/kernel/mm/hugepages").iterdir()]
    assert hugepage_sizes() == sorted(shown)


def test_a_size_that_there_is_not_names_those_that_there_are():
    with pytest.raises(CapabilityError, match=r"page=12288: .*kB"):
        nr_hugepages(12288)


@pytest.mark.kernel
def test_on_top_of_what_is_there_and_back():
    pool = nr_hugepages(2 << 20)
    require("kernel", pool.available() is None, str(pool.available()))
    base = int(pool.read())
    with knobs_set({pool: More(3)}):
        with open("/proc/meminfo") as lines:
            total = next(int(line.split()[1]) for line in lines if line.startswith("HugePages_Total:"))
        assert int(pool.read()) == total == base + 3
        assert free_hugepages(2 << 20) >= 3
    assert int(pool.read()) == base


@pytest.mark.kernel
def test_more_than_the_machine_has():
    pool = nr_hugepages(2 << 20)
    require("kernel", pool.available() is None, str(pool.available()))
    base = pool.read()
    with pytest.raises(CapabilityError, match="asked for"), knobs_set({pool: More(1 << 30)}):
        pytest.fail("entered")
    assert pool.read() == base
