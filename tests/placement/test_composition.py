from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.units import parse_size
from mshare_bench.placement.composition import (
    fit_fixed_and_rate,
    predict_joint,
    predict_move_rates,
    predict_remote_tables,
    predict_replicated_operations,
    slowdown,
)
from mshare_bench.validation.targets import packaged_targets

TARGETS = {one.id: one for one in packaged_targets()}
PUBLISHED: dict[str, dict[str, Any]] = {
    name: {"rows": one.rows, "fit": one.fit, "tolerance": one.tolerance, **one.extra} for name, one in TARGETS.items()
}
PUBLISHED["mitosis_vma_ops"]["rows"] = {
    name: {"plain": TARGETS["mitosis_vma_ops"].rows[name], "replicated": rows}
    for name, rows in TARGETS["mitosis_vma_ops"].extra["replicated"].items()
}
COMPOSITION = PUBLISHED["mitosis_composition"]
PROGRAMS = {name: dict(zip(COMPOSITION["columns"], row, strict=True)) for name, row in COMPOSITION["rows"].items()}
MOVES = {parse_size(size): rate for size, rate in PUBLISHED["move_pages"]["rows"].items()}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("busy", ["", "_busy"])
def test_remote_tables_and_remote_data_add_up_as_published(program: str, busy: str) -> None:
    row = PROGRAMS[program]
    predicted = predict_joint(row["walk_share"], row["tables" + busy], row["data" + busy])
    assert predicted.runtime == pytest.approx(row["both" + busy], rel=COMPOSITION["tolerance"]["both" + busy])


def test_remote_tables_follow_from_the_walk_share_and_the_other_programs() -> None:
    rows = {name: (row["walk_share"], row["tables"]) for name, row in PROGRAMS.items()}
    predicted = predict_remote_tables(rows)
    errors = [abs(predicted[name] / runtime - 1) for name, (_, runtime) in rows.items()]
    tolerance = PUBLISHED["mitosis_remote_tables"]["tolerance"]
    assert median(errors) <= tolerance["median"]
    assert max(errors) <= tolerance["max"]


def test_a_program_is_never_predicted_from_itself() -> None:
    rows = {name: (row["walk_share"], row["tables"]) for name, row in PROGRAMS.items()}
    share, _ = rows["GUPS"]
    assert predict_remote_tables(rows)["GUPS"] == predict_remote_tables(rows | {"GUPS": (share, 99.0)})["GUPS"]


@pytest.mark.parametrize("operation", PUBLISHED["mitosis_vma_ops"]["rows"])
def test_operations_on_replicated_tables_cost_what_was_published(operation: str) -> None:
    target = PUBLISHED["mitosis_vma_ops"]
    row = target["rows"][operation]
    predicted, extra = predict_replicated_operations(
        row["plain"], row["replicated"], tuple(target["fit"]), target["replicas"]
    )
    for pages, cycles in row["replicated"].items():
        assert predicted[pages] == pytest.approx(cycles, rel=target["tolerance"])
    assert extra.rate > 0


def test_what_was_not_to_be_fitted_is_not_read() -> None:
    row = PUBLISHED["mitosis_vma_ops"]["rows"]["protect_shared"]
    kept = {
        key: {n: v if n in (1, 2048) else float("nan") for n, v in row[key].items()} for key in ("plain", "replicated")
    }
    assert predict_replicated_operations(kept["plain"], kept["replicated"], (1, 2048), 4) == (
        predict_replicated_operations(row["plain"], row["replicated"], (1, 2048), 4)
    )
    ends = (parse_size("4KiB"), parse_size("1MiB"))
    assert predict_move_rates({s: MOVES[s] for s in ends}, ends, list(MOVES)) == predict_move_rates(MOVES, ends)


@pytest.mark.parametrize("size", MOVES)
def test_pages_move_as_fast_as_published(size: int) -> None:
    target = PUBLISHED["move_pages"]
    low, high = (parse_size(text) for text in target["fit"])
    predicted, cost = predict_move_rates(MOVES, (low, high))
    assert predicted[size] == pytest.approx(MOVES[size], rel=target["tolerance"])
    assert cost.fixed > 0


@given(st.floats(0.01, 0.99), st.floats(1, 10), st.floats(1, 10))
def test_composition_undoes_what_single_factors_made(share: float, walk: float, data: float) -> None:
    tables_remote = slowdown(share, walk, 1).runtime
    data_remote = slowdown(share, 1, data).runtime
    joint = predict_joint(share, tables_remote, data_remote)
    assert (joint.walk, joint.data) == (pytest.approx(walk), pytest.approx(data))
    assert joint.runtime == pytest.approx(slowdown(share, walk, data).runtime)
    assert joint.runtime >= max(tables_remote, data_remote) - 1e-9


@given(st.floats(0, 1e6), st.floats(0.001, 1e3), st.integers(1, 1000), st.integers(1001, 10**6))
def test_a_fixed_cost_and_a_rate_are_found_again(fixed: float, rate: float, low: int, high: int) -> None:
    found = fit_fixed_and_rate({n: fixed + rate * n for n in (low, high)}, (low, high))
    assert found.cost(5000) == pytest.approx(fixed + rate * 5000, rel=1e-3, abs=1e-3)
