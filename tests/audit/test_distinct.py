import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.audit.distinct import DistinctRows, distinct


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-100, 100), st.integers(-3, 3))))
@pytest.mark.parametrize("stretch", [1, 1 << 30, 1 << 54], ids=["fits a bitmap", "fits one integer", "fits neither"])
def test_one_row_of_each_kind(stretch, rows):
    columns = [np.array([row[at] for row in rows], np.int64) * (stretch if at == 1 else 1) for at in range(3)]
    found = list(zip(*(column.tolist() for column in distinct(columns)), strict=True))
    assert found == sorted({(a, b * stretch, c) for a, b, c in rows})


def test_rows_of_objects_that_turned_out_to_be_one():
    rows = DistinctRows(2)
    rows.add(np.array([1, 1, 2]), np.array([5, 5, 5]))
    rows.add(np.array([2, 3]), np.array([6, 5]))
    assert rows.counts(np.arange(4)).tolist() == [0, 1, 2, 1]
    assert rows.counts(np.array([0, 1, 1, 3])).tolist() == [0, 2, 0, 1]


def test_nothing_added():
    rows = DistinctRows(3)
    rows.add(*[np.empty(0, np.int64)] * 3)
    assert [len(column) for column in rows.rows(np.arange(2))] == [0, 0, 0]
    assert rows.counts(np.arange(2)).tolist() == [0, 0]
