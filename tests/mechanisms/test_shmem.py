"""Plain shared memory: every process builds its own tables, what all others are held against."""

import pytest

from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


@pytest.mark.kernel
@pytest.mark.parametrize(("write_fraction", "faults"), [(0.0, 128), (1.0, 2048)])
def test_every_process_builds_its_own_tables(write_fraction: float, faults: int) -> None:
    """A read fault of present data maps 64 KiB (fault-around), a write fault one page."""
    point = make_point("shmem", 3, 8 * MIB, write_fraction=write_fraction)
    found, expected = observe(point), account(point)
    assert found.tables == [(4 + 1 + 1) * 4 * KIB] * 3
    assert found.faults == [faults] * 3
    assert found.shown("ShmemPmdMapped") == [0] * 3
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))


@pytest.mark.kernel
def test_the_first_reader_of_an_empty_memfd_has_no_fault_around() -> None:
    point = make_point("shmem", 2, 8 * MIB, populate="first_touch")
    found = observe(point)
    assert found.faults == [2048, 128]
    assert sum(found.faults) == account(point).total("minor_faults")


def test_a_gibibyte_takes_2056_kib_a_process() -> None:
    """Measured on Linux 6.18: VmPTE 2092 KiB over a base of 36."""
    assert account(make_point("shmem", 7, GIB)).page_table_bytes == 7 * 2056 * KIB
