"""The figures of a fleet's study are those of its rows."""

import pyarrow as pa
import pytest

from mshare_bench.report.fleet import days_of, fleet_study
from tests.report.test_studies import day


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return day()


def test_days_are_summed_over_their_slots(tables: dict[str, pa.Table]) -> None:
    apart, shared = days_of(tables)
    assert (apart.label, shared.label) == ("shmem", "mshare")
    rows = [row for row in tables["fleet"].to_pylist() if row["cell"] == apart.cell["cell"]]
    assert apart.machines == max(row["machines"] for row in rows)
    assert apart.machine_hours == pytest.approx(sum(row["machines"] for row in rows) / 12)
    assert apart.total("moves") == sum(row["moves"] for row in rows)
    assert apart.memory > shared.memory


def test_the_answer_names_machines_hours_memory_and_moves(tables: dict[str, pa.Table]) -> None:
    study = fleet_study(tables)
    assert study is not None
    apart, shared = days_of(tables)
    assert (
        f"takes {shared.machines} machines at the busiest moment instead of {apart.machines} with shmem" in study.answer
    )
    assert f"{apart.machine_hours - shared.machine_hours:,.0f} machine hours less" in study.answer
    assert f"{shared.total('moves'):,} moves instead of {apart.total('moves'):,}" in study.answer


def test_no_day_no_study(tables: dict[str, pa.Table]) -> None:
    assert fleet_study({"cells": tables["cells"]}) is None
