"""Same-page merging: data once, tables as many as before."""

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.mechanisms.ksm import MAX_PAGE_SHARING
from mshare_bench.real.counters.ksm import process_ksm_state
from mshare_bench.real.measure import wait_until_merged
from mshare_bench.real.programs import Backed
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


@pytest.mark.kernel
def test_frames_merge_and_tables_stay() -> None:
    def merged(pids: list[int], one: Backed) -> list[dict[str, int | None]]:
        wait_until_merged(60)
        return [process_ksm_state(pid) for pid in pids]

    point = make_point("ksm", 3, MIB)
    found, expected = observe(point, merged), account(point)
    pages = MIB // (4 * KIB)
    assert [one["ksm_rmap_items"] for one in found.seen] == [pages] * 3
    assert expected.total("metadata_bytes") == 3 * pages * 64  # an rmap item each
    assert [one["ksm_merging_pages"] for one in found.seen] == [pages] * 3
    assert expected.total("data_bytes") == MIB
    assert found.tables == [3 * 4 * KIB] * 3
    assert sum(found.tables) == expected.page_table_bytes


def test_a_frame_serves_so_many_mappings_and_then_there_is_another() -> None:
    def data(processes: int) -> int:
        return account(make_point("ksm", processes, MIB)).total("data_bytes")

    assert data(2) == data(MAX_PAGE_SHARING) == MIB
    assert data(MAX_PAGE_SHARING + 1) == 2 * MIB
