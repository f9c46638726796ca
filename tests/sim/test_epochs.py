"""Epochs of a placed cell: what must move moves, what pays is planned, and the summary holds what the plan costs."""

import pyarrow.compute as pc
import pytest

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.epochs import check_epochs, epochs_of
from tests.sim.test_places import placed

DRAIN = "60s|20ms drain 0:0|20ms|600s drain 0:0|600s"


def point(
    epochs: str, strategy: str = "planned", mechanism: str = "shmem", name: str = "xeon_2s", **more: object
) -> Point:
    text = PlacementChoice("epochs", epochs=tuple(epochs.split("|")), strategy=strategy).text
    return placed(name, text, mechanism, 12, region=256 << 20, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["planned", "never", "greedy"])
def test_a_drained_node_is_left_with_the_reason(strategy: str) -> None:
    made = point("60s|60s drain 0:0", strategy)
    _, moved = epochs_of(made, PlacementChoice.parse(made.placement))
    assert [seat.node for seat in moved.plan.assignments[0].seats] == [0]
    assert [seat.node for seat in moved.plan.assignments[1].seats] == [1]
    reasons = {one.reason for one in moved.plan.migrations if one.what == "group"}
    assert "move: node 0 of machine 0 is drained" in reasons
    assert moved.seconds == 120


def test_planned_is_never_dearer_than_the_others() -> None:
    costs = {}
    for strategy in ("planned", "never", "greedy"):
        made = point(DRAIN, strategy)
        _, moved = epochs_of(made, PlacementChoice.parse(made.placement))
        costs[strategy] = moved.plan.total_ns
        summary = moved.costs()
        assert summary["placement_cost_ns"] * moved.seconds + summary["moving_cost_ns"] == pytest.approx(
            moved.plan.total_ns
        )
    assert costs["planned"] <= min(costs.values()) * (1 + 1e-9)


def test_rows_of_migrations_are_the_plan_and_add_up_to_the_summary() -> None:
    cell = Cell(point(DRAIN, "greedy"))
    (tables,) = SimEngine().run([cell])
    (summary,) = tables["cells"].to_pylist()
    assert summary["status"] == "ok"
    moves = tables["migrations"].to_pylist()
    assert moves
    assert sum(row["cost_ns"] for row in moves) == pytest.approx(summary["moving_cost_ns"])
    assert {row["group"] for row in moves} <= {"all", "shared"}
    assert all("#" not in row["reason"] for row in moves)
    assert pc.sum(tables["nodes"]["page_table_bytes"]).as_py() == summary["page_table_bytes"]


def test_a_dead_machine_s_processes_start_elsewhere() -> None:
    made = point("60s|60s dead 0", name="cluster_4")
    _, moved = epochs_of(made, PlacementChoice.parse(made.placement))
    assert 0 in {seat.machine for seat in moved.plan.assignments[0].seats}
    assert 0 not in {seat.machine for seat in moved.plan.assignments[1].seats}
    assert {one.reason for one in moved.plan.migrations if one.what == "group"} == {"move: machine 0 is down"}


@pytest.mark.parametrize(
    ("epochs", "strategy", "error", "complaint"),
    [
        (
            "60s drain 0:7",
            "planned",
            PlacementError,
            "placement.epochs=60s drain 0:7: node=7: ice_lake_2s has the nodes 0, 1",
        ),
        ("60s|60s dead 3", "planned", PlacementError, "placement.epochs=60s dead 3: machine=3: topology xeon_2s has"),
        ("60s share 0.5", "planned", ConfigError, "placement.epochs=60s share 0.5: the first epoch runs all processes"),
        ("60s", "lazy", ConfigError, "placement.strategy=lazy: must be one of planned, never, greedy"),
    ],
)
def test_epochs_that_can_not_be_are_named(epochs: str, strategy: str, error: type[Exception], complaint: str) -> None:
    made = point(epochs, strategy)
    with pytest.raises(error, match=complaint):
        check_epochs(made, PlacementChoice.parse(made.placement))


def test_an_epoch_without_room_is_a_skipped_row_that_names_it() -> None:
    cell = Cell(point("60s|60s drain 0:0 drain 0:1"))
    (tables,) = SimEngine().run([cell])
    (row,) = tables["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert row["error"].startswith("epoch 1:")
