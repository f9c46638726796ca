"""Shared memory with transparent huge pages: huge where address and file agree, on the running kernel too."""

import pytest

from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import KIB, MIB
from mshare_bench.domain.workload import SLOT, Placed, Region
from mshare_bench.mechanisms.thp import Thp
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


@pytest.mark.parametrize(
    ("offset", "pages"), [(0, [2 * MIB, 4 * KIB]), (4 * KIB, [4 * KIB]), (4 * MIB, [2 * MIB, 4 * KIB])]
)
def test_it_is_huge_only_where_address_and_file_agree(offset: int, pages: list[int]) -> None:
    placed = Placed(Region("r", 5 * MIB), SLOT + offset)
    assert [one.page for one in Thp().extents(placed, 4 * KIB, X86_64)] == pages


@pytest.mark.kernel
@pytest.mark.parametrize(("offset", "huge", "tables"), [(0, 4 * MIB, 12 * KIB), (4 * KIB, 0, 20 * KIB)])
def test_a_pmd_entry_maps_what_is_congruent_and_needs_no_pte_page(offset: int, huge: int, tables: int) -> None:
    """5 MiB: two huge pages and half a PTE page; 4 KiB off, three PTE pages. Each with a PMD page and a PUD page."""
    point = make_point("thp", 2, 5 * MIB, offset=offset)
    found, expected = observe(point), account(point)
    assert found.shown("ShmemPmdMapped") == [huge] * 2
    assert found.shown("Rss") == [5 * MIB] * 2
    assert found.tables == [tables] * 2
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))
