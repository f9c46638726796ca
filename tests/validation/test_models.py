from dataclasses import replace

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.validation.comparison import compared
from mshare_bench.validation.models import Context, packaged_mmus, predict
from mshare_bench.validation.targets import Expected, NotPredicted, Target, packaged_targets

TARGETS = {one.id: one for one in packaged_targets()}
QUICK = sorted(set(TARGETS) - {"mitosis_gups_from_first_principles"})


@pytest.mark.parametrize("name", QUICK)
def test_every_published_number_is_predicted_within_its_tolerance(name):
    rows = predict(TARGETS[name])
    assert compared(rows)
    for row in compared(rows):
        assert row.passed, (row.quantity, row.coordinates, row.predicted, row.reference)
    assert {row.source for row in rows} == {TARGETS[name].source}


def test_the_first_principles_target_is_reported_with_its_reason():
    target = TARGETS["mitosis_gups_from_first_principles"]
    rows = predict(target, Context(packaged_mmus()))
    assert {row.quantity: row.reference for row in rows} == {"walk_share": 0.83, "walk_cycles_remote_over_local": 1.65}
    for row in rows:
        assert row.passed is None and not row.fitted
        assert row.predicted is not None
        assert row.note.startswith("nothing is fitted; ")


@pytest.mark.parametrize("name", ["fork_series", "mitosis_vma_ops", "fault_scaling", "move_pages"])
def test_only_fitted_rows_set_anything(name):
    """Predictions stay as they are when what must be predicted changes; a fitted row is told as such."""
    target = TARGETS[name]

    def other(rows):
        if isinstance(next(iter(rows.values())), dict):
            return {key: other(part) for key, part in rows.items()}
        return {x: y if x in target.fit else 17.0 * y for x, y in rows.items()}

    extra = {key: other(value) if key == "replicated" else value for key, value in target.extra.items()}
    changed = predict(replace(target, rows=other(target.rows), extra=extra))
    for before, after in zip(predict(target), changed, strict=True):
        assert before.predicted == pytest.approx(after.predicted, rel=1e-12) if before.predicted is not None else True
        if before.fitted:
            assert before.passed is None
            assert before.predicted == pytest.approx(before.reference, rel=1e-6)


def test_a_prediction_that_is_off_stays_as_failed():
    target = replace(TARGETS["fork_series"], rows={**TARGETS["fork_series"].rows, 20: 1000})
    rows = {row.coordinates: row for row in predict(target)}
    assert rows["20 GiB"].passed is False
    assert rows["20 GiB"].predicted == pytest.approx(252.4, rel=0.01)
    assert rows["18 GiB"].passed is True


def test_reference_numbers_are_rows_without_a_prediction():
    (row,) = [row for row in predict(TARGETS["move_pages"]) if row.predicted is None]
    assert (row.reference, row.passed, row.unit) == (10.67, None, "GB/s")
    assert "PMD" in row.note


def test_bytes_faults_and_units_of_a_table_of_ones_own():
    target = Target(
        "mine", "accounting", "my kernel", 0.0, {"mechanism": "shmem", "processes": 3, "region": "2MiB"},
        (
            Expected("minor_faults", 96, None, "", {}),
            Expected("minor_faults_per_process", 512, None, "", {"write_fraction": 1.0}),
            Expected("page_table_bytes", 36, None, "KiB", {}),
            Expected("data_bytes", 2, None, "MiB", {"access": "dense"}),
        ),
    )  # fmt: skip
    assert [row.passed for row in predict(target)] == [True] * 4


GIVEN = {"mechanism": "shmem", "processes": 3, "region": "2MiB"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("t", "astrology", "s", 0.1, rows={1: 2}), "target t: model=astrology: not one of accounting"),
        (Target("t", "fork", "s", 0.1, rows={1: 2, 2: 3}, fit=(1, 2)), "can't read it: x is missing"),
        (Target("t", "fork", "s", 0.1, rows={1: 2}, fit=(1,), unit={"x": "GiB"}), r"fit=\[1\]: its model fork is set by 2"),
        (Target("t", "fork", "s", 0.1, rows={1: 2, 2: 3}, fit=(1, 5), unit={"x": "GiB"}), "there is no row 5"),
        (Target("t", "fork", "s", 0.1, rows={1: "a", 2: 3}, fit=(1, 2), unit={"x": "GiB"}), "target t: its model fork"),
        (Target("t", "concurrent_faults", "s", 0.1, rows={1: 2}, fit=(1, 2, 3)), "cpus is missing"),
        (Target("t", "accounting", "s", 0.1, GIVEN, (Expected("wealth", 1, None, "", {}),)), "expect wealth"),
        (Target("t", "accounting", "s", 0.1, GIVEN, (Expected("data_bytes", 1, None, "oz", {}),)), "unit=oz"),
        (Target("t", "accounting", "s", 0.1, {**GIVEN, "mechanism": "x"}, (Expected("data_bytes", 1, None, "", {}),)),
         "mechanism=x"),
        (Target("t", "ksm", "s", 0.1, {}, (Expected("profit_bytes", 1, None, "", {}),)), "pages_shared is missing"),
        (Target("t", "mmu", "s", None, {"cpu": "z80"}, (Expected("walk_share", 1, None, "", {}),)), "given.cpu=z80"),
        (Target("t", "vma_ops", "s", 0.1, rows={"dance": {1: 2, 2: 3}}, fit=(1, 2)), "operation=dance"),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)  # fmt: skip
def test_what_a_model_can_not_read_is_named(target, said):
    with pytest.raises(ConfigError, match=said):
        predict(target)


def test_not_predicted_numbers_come_after_the_predictions():
    target = replace(TARGETS["fork_series"], not_predicted=(NotPredicted("huge", {1: 5.0}, "huge pages"),))
    last = predict(target)[-1]
    assert (last.quantity, last.coordinates, last.unit) == ("huge", "1 GiB", "ms")
