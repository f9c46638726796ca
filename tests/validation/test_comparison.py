import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.validation.comparison import Comparison, compared, failed, median_error, table

NUMBERS = st.floats(1e-6, 1e12)


def row(predicted=1.0, reference=1.0, tolerance=0.1, **more):
    return Comparison("t", "q", "here", predicted, reference, tolerance, "somewhere", **more)


@given(NUMBERS, NUMBERS, st.floats(0, 2))
def test_a_prediction_passes_exactly_within_its_tolerance(predicted, reference, tolerance):
    passed = row(predicted, reference, tolerance).passed
    error = abs(predicted - reference) / reference
    if abs(error - tolerance) > 1e-9 * (1 + tolerance):
        assert passed is (error < tolerance)


def test_exact_means_exact():
    assert row(4096, 4096, 0.0).passed is True
    assert row(4097, 4096, 0.0).passed is False


@pytest.mark.parametrize(
    "more", [{"fitted": True}, {"tolerance": None}, {"predicted": None}, {"reference": None}], ids=str
)
def test_what_was_fitted_or_not_predicted_has_no_verdict(more):
    assert row(**{"predicted": 5.0, **more}).passed is None
    assert not compared([row(**{"predicted": 5.0, **more})])


def test_a_floor_is_reached_from_above_without_limit():
    assert row(1000, 131, 0.02, at_least=True).passed is True
    assert row(130.9, 131, 0.02, at_least=True).passed is False


def test_a_prediction_of_nothing_has_a_ratio_only_where_nothing_is_right():
    assert row(0, 0).ratio == 1
    assert row(1, 0).ratio is None and row(1, 0).passed is False


def test_the_median_error_leaves_fitted_rows_out():
    assert median_error([row(1.1), row(1.3), row(9.0, fitted=True), row(None)]) == pytest.approx(0.2)
    assert median_error([row(fitted=True)]) is None


def test_the_table_has_the_columns_of_the_contract_and_keeps_what_failed():
    rows = [row(), row(2.0), row(2.0, fitted=True), row(None, note="no model")]
    found = table(rows)
    wanted = [
        "target",
        "quantity",
        "coordinates",
        "predicted",
        "reference",
        "ratio",
        "tolerance",
        "passed",
        "fitted",
        "source",
    ]
    assert found.column_names[: len(wanted)] == wanted
    assert {"unit", "block", "note"} == set(found.column_names[len(wanted) :])
    assert found["passed"].to_pylist() == [True, False, None, None]
    assert found["predicted"].to_pylist() == [1.0, 2.0, 2.0, None]
    assert failed(rows) == [rows[1]]
    for field in found.schema:
        assert field.metadata[b"description"]
    assert {field.name for field in dataclasses.fields(Comparison)} - {"at_least"} <= set(found.column_names)
