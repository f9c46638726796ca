import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError
from mshare_bench.sim.operations import OPERATIONS, fit_operation, operation_time, operation_work, shared_table_fork

MEASURED = {
    "fork": 30_000.0, "vma_copy": 1_000.0, "pte_copy": 22.0, "table_copy": 400.0, "table_share": 600.0, "rss_account": 21.0,
}  # fmt: skip
"""Orders of magnitude of this kind of machine: 6.5 ms per 256 MiB of private memory."""


@pytest.mark.parametrize("operation", OPERATIONS)
@given(pages=st.integers(1, 1 << 20))
def test_work_is_one_call_and_one_entry_per_page(operation, pages):
    _, _, per_call, per_page = OPERATIONS[operation]
    counts = dict(operation_work(operation, pages).counts)
    assert counts[per_call] == 1
    assert counts[per_page] == pages


@pytest.mark.parametrize("operation", OPERATIONS)
@given(call=st.floats(1, 1e6), page=st.floats(0.1, 1e3), pages=st.integers(3, 1 << 20))
def test_two_points_give_both_costs_and_every_other_size(operation, call, page, pages):
    times = {1: call + page, 2048: call + 2048 * page}
    costs = fit_operation(operation, times, [1, 2048])
    for size, time in times.items():
        assert operation_time(operation, size, costs) == pytest.approx(time, rel=1e-6)
    assert operation_time(operation, pages, costs) == pytest.approx(call + pages * page, rel=1e-5)


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_larger_regions_never_take_less(first, second):
    small, large = sorted((first, second))
    assert operation_time("fork", small, MEASURED) <= operation_time("fork", large, MEASURED)


def test_sharing_tables_at_fork_saves_nearly_all_and_accounting_takes_it_back():
    """The lesson of COW-PTE (2023): what a fork takes is not writing entries but taking every page up."""
    copied, ideal, accounted = shared_table_fork(MEASURED, GIB)
    assert ideal <= 0.10 * copied
    assert accounted >= 0.90 * copied
    assert accounted < copied


@given(st.sampled_from([2 * MIB, 64 * MIB, GIB, 8 * GIB]), st.floats(0, 22))
def test_sharing_is_never_dearer_than_copying_where_accounting_is_a_part_of_it(region, account):
    copied, ideal, accounted = shared_table_fork({**MEASURED, "rss_account": account, "table_share": 400.0}, region)
    assert ideal <= accounted <= copied * (1 + 1e-12)


def test_an_unknown_operation_is_named():
    for call in (lambda: operation_work("dance", 1), lambda: fit_operation("dance", {1: 1.0, 2: 2.0}, [1, 2])):
        with pytest.raises(ConfigError, match="operation=dance: not one of fork"):
            call()
