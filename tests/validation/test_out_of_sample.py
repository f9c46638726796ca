from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.validation.comparison import compared
from mshare_bench.validation.out_of_sample import fit_line, half_of_series, out_of_sample
from mshare_bench.validation.targets import packaged_targets

TARGETS = {one.id: one for one in packaged_targets()}


def test_every_published_series_is_predicted_from_its_other_half():
    rows = list(out_of_sample(list(TARGETS.values())))
    assert {row.target for row in rows} >= {
        "fork_series", "move_pages", "fault_scaling", "mitosis_composition", "mitosis_remote_tables",
    }  # fmt: skip
    assert {row.block for row in rows} == {"out_of_sample"}
    for row in compared(rows):
        assert row.passed, (row.target, row.coordinates, row.ratio)


@pytest.mark.parametrize("name", ["fork_series", "move_pages"])
def test_the_half_that_is_predicted_is_not_read(name):
    target = TARGETS[name]
    before = {row.coordinates: row for row in half_of_series(target)}
    changed = {x: y * 3 for x, y in target.rows.items() if not before[f"{x} {target.unit['x']}"].fitted}
    after = {row.coordinates: row for row in half_of_series(replace(target, rows={**target.rows, **changed}))}
    assert changed
    for where, row in before.items():
        assert after[where].predicted == pytest.approx(row.predicted)
    assert any(row.passed is False for row in after.values())


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3))
def test_a_line_is_found_again(fixed, rate):
    points = {amount: fixed + rate * amount for amount in (1.0, 5.0, 40.0, 300.0)}
    found = fit_line(points)
    for amount, cost in points.items():
        assert found[0] + found[1] * amount == pytest.approx(cost, rel=1e-6)


def test_neither_part_of_a_line_is_below_zero():
    fixed, rate = fit_line({1.0: 1.0, 2.0: 3.0, 3.0: 5.0})  # the straight line through them starts at -1
    assert fixed == 0
    assert rate > 1
