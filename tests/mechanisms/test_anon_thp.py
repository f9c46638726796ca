"""Private huge pages: a copy of the data each, and a PTE page set aside for every huge page."""

import pytest

from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import KIB, MIB
from mshare_bench.domain.workload import SLOT, Placed, Region
from mshare_bench.mechanisms.anon_thp import AnonThp
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


def test_it_is_huge_wherever_the_address_is_for_there_is_no_file_to_agree_with() -> None:
    placed = Placed(Region("r", 5 * MIB), SLOT + 4 * KIB)
    extents = AnonThp().extents(placed, 4 * KIB, X86_64)
    assert [(one.start, one.page) for one in extents] == [
        (0, 4 * KIB),
        (2 * MIB - 4 * KIB, 2 * MIB),
        (4 * MIB - 4 * KIB, 4 * KIB),
    ]


@pytest.mark.kernel
@pytest.mark.parametrize(("offset", "huge"), [(0, 4 * MIB), (4 * KIB, 2 * MIB)])
def test_huge_pages_save_no_table(offset: int, huge: int) -> None:
    """Tables are those of the same memory in base pages, whatever a PMD entry maps; faults are not."""
    point = make_point("anon_thp", 2, 5 * MIB, offset=offset)
    found, expected = observe(point), account(point)
    assert found.shown("AnonHugePages") == [huge] * 2
    assert found.tables == [5 * 4 * KIB] * 2
    assert (
        sum(found.tables)
        == expected.page_table_bytes
        == account(make_point("shmem", 2, 5 * MIB, offset=offset)).page_table_bytes
    )
    assert (
        sum(found.faults) == expected.total("minor_faults") == 2 * (huge // (2 * MIB) + (5 * MIB - huge) // (4 * KIB))
    )
    assert sum(found.shown("Pss")) == expected.total("data_bytes") == 2 * 5 * MIB
