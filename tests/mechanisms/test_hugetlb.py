"""Preallocated huge pages: taken from the pool and given back, and PMD tables that the kernel shares where it can."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64, Level
from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.domain.workload import SLOT, Placed, Region
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.hugetlb import Hugetlb
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe
from tests.requirements import require

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def pool() -> tuple[int, int, int]:
    """Huge pages that there are, that are free, and that are promised to somebody."""
    total, free, promised = (int((POOL / f"{name}_hugepages").read_text()) for name in ("nr", "free", "resv"))
    return total, free, promised


@pytest.fixture
def same_pool() -> Iterator[None]:
    before = pool() if POOL.exists() else None
    yield
    assert before is None or pool() == before


def test_it_shares_whole_aligned_slots() -> None:
    extents = Hugetlb().extents(Placed(Region("r", 3 * GIB), SLOT + 512 * MIB), 2 * MIB, X86_64)
    assert [(one.length, Level.PMD in one.shared) for one in extents] == [
        (512 * MIB, False),
        (2 * GIB, True),
        (512 * MIB, False),
    ]


@pytest.mark.parametrize(
    ("size", "offset", "page", "said"),
    [
        (5 * MIB, 0, 2 * MIB, "region=5242880: not a multiple of the page, 2MiB, that hugetlb maps"),
        (4 * MIB, 4 * KIB, 2 * MIB, "offset=4096: not a multiple of the page, 2MiB, that hugetlb maps"),
        (2 * GIB, 512 * MIB, GIB, "offset=536870912: not a multiple of the page, 1GiB, that hugetlb maps"),
    ],
)
def test_what_no_huge_page_can_map_is_refused(size: int, offset: int, page: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Hugetlb().check(Placed(Region("r", size), SLOT + offset), page)


@pytest.mark.kernel
@pytest.mark.usefixtures("same_pool")
def test_pages_come_out_of_the_pool_and_go_back() -> None:
    require("kernel", POOL.exists(), "this kernel has no huge pages of 2 MiB")
    before = pool()
    point = make_point("hugetlb", 2, 8 * MIB)
    found, expected = observe(point, lambda pids, one: pool()), account(point)
    total, free, _ = found.seen
    assert total == before[0] + 4
    assert total - free == before[0] - before[1] + 4
    assert found.shown("Shared_Hugetlb") == [8 * MIB] * 2
    assert found.tables == [2 * 4 * KIB] * 2  # a PMD page and a PUD page: no PTE page
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))


@pytest.mark.kernel
@pytest.mark.usefixtures("same_pool")
@pytest.mark.parametrize(
    ("offset", "options", "faults"),
    [
        (0, {}, [4, 1, 1]),
        (2 * MIB, {}, [4, 4, 4]),
        (0, {"pmd_sharing": False}, [4, 4, 4]),
    ],
    ids=["whole slot", "2 MiB off", "VMA split"],
)
def test_a_shared_pmd_page_is_filled_once(offset: int, options: dict[str, bool], faults: list[int]) -> None:
    """Whole 1 GiB slots, mm/hugetlb.c, `want_pmd_share`. Four pages are touched: a cold gigabyte takes seconds."""
    access = AccessPattern.of("stride", step=256 * MIB)
    point: Point = make_point("hugetlb", 3, GIB, offset=offset, access=access, options=options)
    found = observe(point)
    assert found.faults == faults
    assert sum(faults) == account(point).total("minor_faults")
