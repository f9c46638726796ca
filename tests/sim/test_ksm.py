import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.cost import CostModel
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import account
from mshare_bench.sim.ksm import KsmPages, predict_ksm
from tests.sim.points import point

PAGES = st.integers(0, 10**9)


@given(PAGES, PAGES, PAGES, PAGES)
def test_profit_is_frames_less_rmap_items_and_tables_stay(shared, sharing, unshared, volatile):
    found = predict_ksm(KsmPages(shared, sharing, unshared, volatile), 100, 20)
    assert found.profit_bytes == sharing * 4096 - (shared + sharing + unshared + volatile) * 64
    assert found.saved_bytes - found.metadata_bytes == found.profit_bytes
    assert found.page_table_bytes_change == 0
    assert found.scan_cpu_seconds is None


def test_pages_that_nobody_shares_are_a_loss():
    assert predict_ksm(KsmPages(0, 0, 1000, 0), 100, 20).profit_bytes < 0


def test_the_accounting_of_merged_cells_counts_the_same():
    counted = account(point("ksm", 4, 1 << 20))
    pages = KsmPages(256, 3 * 256, 0, 0)
    found = predict_ksm(pages, 100, 20)
    assert counted.total("metadata_bytes") == found.metadata_bytes
    assert 4 * (1 << 20) - counted.total("data_bytes") == found.saved_bytes


def test_a_scan_takes_its_sleeps_and_its_comparisons():
    costs = CostModel.of(
        {"name": "x", "costs": [
            {"name": "ksm_compare", "value": 500, "unit": "ns", "source": "test"},
            {"name": "ksm_merge", "value": 2000, "unit": "ns", "source": "test"},
        ]}
    )  # fmt: skip
    found = predict_ksm(KsmPages(100, 900, 0, 0), 100, 20, costs=costs)
    assert found.scan_seconds == pytest.approx(10 * 0.020)
    assert found.scan_cpu_seconds == pytest.approx((1000 * 500 + 900 * 2000) / 1e9)


def test_negative_counts_are_named():
    with pytest.raises(ConfigError, match="pages_sharing=-1"):
        KsmPages(1, -1, 0, 0)
