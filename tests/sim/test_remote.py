"""What distance costs: by hand where it can be, and nothing where nothing is far."""

from dataclasses import replace

import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.places import places_of
from mshare_bench.sim.remote import REPLICA_ENTRY_NS, remote_walk_fraction
from tests.sim.test_places import GIB, placed

PAGES = GIB // 4096
FLAT = CostModel.of(
    {
        "name": "flat",
        "basis": "calibrated",
        "costs": [
            {"name": name, "value": 1, "unit": kind.unit, "source": "made up"}
            for name, kind in UNIT_COSTS.items()
            if not name.endswith("_far") and name != "cache_bytes"
        ],
    }
)


def fraction(name: str, placement: str, mechanism: str, **more: object) -> float | None:
    return remote_walk_fraction(places_of(placed(name, placement, mechanism, **more)))  # type: ignore[arg-type]


def row(name: str, placement: str, mechanism: str, cost: str = "flat", **more: object) -> dict[str, object]:
    point = placed(name, placement, mechanism, **more)  # type: ignore[arg-type]
    (tables,) = SimEngine(costs={"flat": FLAT}).run([Cell(point, cost=cost)])
    (only,) = Rows.merge([tables])["cells"].to_pylist()
    return dict(only)


@pytest.mark.parametrize(
    ("name", "placement", "mechanism", "wanted"),
    [
        ("xeon_2s", "first_touch", "shmem", 0.0),  # everybody's tables are his own and near
        ("xeon_2s", "first_touch", "mshare", 0.5),  # one set, on the first node
        ("xeon_4s", "first_touch", "mshare", 0.75),
        ("xeon_4s", "first_touch;tables=interleave", "shmem", 0.75),
        ("xeon_4s", "first_touch;tables=replicate", "mshare", 0.0),
        ("xeon_2s", "pack", "mshare", 0.0),
        ("xeon_2s", "first_touch", "hugetlb", 0.5),  # its PMD pages are shared
        ("cluster_4", "first_touch", "mshare", 0.5),
    ],
)
def test_the_share_of_remote_walks_is_that_of_the_leaf_tables(
    name: str, placement: str, mechanism: str, wanted: float
) -> None:
    assert fraction(name, placement, mechanism) == pytest.approx(wanted, abs=2e-3)


def test_a_remote_line_of_data_and_of_tables_costs_the_latency_on_top() -> None:
    def slow(placement: str, mechanism: str) -> float:
        (tables,) = SimEngine(costs={"flat": FLAT}).run([Cell(placed("xeon_2s", placement, mechanism), cost="flat")])
        (touch,) = [one for one in tables["phases"].to_pylist() if one["phase"] == "touch"]
        return float(touch["p95_ns"])

    penalty = 142.7 - 89.2
    # Half of the processes read across the socket: data with both, the common tables with mshare only.
    assert slow("first_touch", "mshare") - slow("pack", "mshare") == pytest.approx((PAGES + PAGES / 8) * penalty)
    assert slow("first_touch", "shmem") - slow("pack", "shmem") == pytest.approx(PAGES * penalty)
    assert slow("first_touch;tables=replicate", "mshare") - slow("pack", "mshare") == pytest.approx(PAGES * penalty)


def test_a_time_is_worth_what_its_least_certain_part_is() -> None:
    assert row("xeon_2s", "pack", "shmem")["basis"] == "published"
    assert row("xeon_2s", "pack", "shmem", cost="")["basis"] == "exact"
    assert row("xeon_2s", "pack", "mshare", options={"interface": "ideal"})["basis"] == "hypothetical"


def test_replicas_cost_their_changes_and_no_distance() -> None:
    near = row("xeon_2s", "first_touch;tables=first_touch", "shmem")
    copied = row("xeon_2s", "first_touch;tables=replicate", "shmem")
    for phase in ("touch", "protect", "unmap"):
        more = copied[f"{phase}_ns"] - near[f"{phase}_ns"]  # type: ignore[operator]
        assert more == pytest.approx(PAGES * REPLICA_ENTRY_NS[phase], rel=1e-6)


def test_what_is_far_has_no_time_where_nobody_knows_the_latencies() -> None:
    assert row("guest_2n", "first_touch", "shmem", processes=4, region=64 << 20)["touch_ns"] is None
    near = row("guest_2n", "bind;nodes=0:0", "shmem", processes=2, region=64 << 20)
    assert near["touch_ns"] is not None
    assert near["unmap_ns"] == row("guest_2n", "first_touch", "shmem", processes=2, region=64 << 20)["unmap_ns"]


def test_times_need_a_profile_and_everything_on_one_node_takes_what_an_unplaced_point_takes() -> None:
    assert row("xeon_2s", "first_touch", "shmem", cost="")["touch_ns"] is None
    point = replace(placed("xeon_2s", "pack", "shmem"), machines=None)
    (tables,) = SimEngine(costs={"flat": FLAT}).run([Cell(point, cost="flat")])
    plain = tables["cells"].to_pylist()[0]
    packed = row("xeon_2s", "pack", "shmem")
    for phase in ("attach", "touch", "fork", "protect", "unmap", "exit"):
        assert packed[f"{phase}_ns"] == pytest.approx(plain[f"{phase}_ns"], rel=1e-12)
