"""From what was asked for to a plan of cells, and what would become of them."""

from dataclasses import replace
from pathlib import Path

import pytest

import mshare_bench
from mshare_bench.config.request import read_request
from mshare_bench.config.settings import ClusterSettings
from mshare_bench.errors import PlacementError
from mshare_bench.results.store import Store
from mshare_bench.sim.engine import SimEngine
from mshare_bench.study.plan import kinds_of, outlook, plan_of
from tests.results.sample import cell_of, rows_of

pytestmark = pytest.mark.usefixtures("own_folder")


def test_real_processes_are_lowered_to_what_fits_and_the_region_is_not() -> None:
    said: list[str] = []
    request = read_request(["real.processes=4000000"])
    plan = plan_of(request, said.append)
    real = [cell for cell in plan.cells if cell.engine == "real"]
    (count,) = {cell.point.workload.processes for cell in real}
    assert 1 <= count < 4_000_000
    assert {cell.point.workload.region_bytes for cell in plan.cells} == {1 << 30}
    assert said and f"{count} fit" in said[0]
    largest = plan_of(read_request(["real.processes=max"]))
    (most,) = {cell.point.workload.processes for cell in largest.cells if cell.engine == "real"}
    assert most == pytest.approx(count, rel=0.2)  # what is free changes meanwhile


def test_predicted_and_real_cells_of_the_headline_pair_up() -> None:
    plan = plan_of(read_request(["real.processes=4"]))
    sim, real = ({c.point.digest for c in plan.cells if c.engine == engine} for engine in ("sim", "real"))
    assert real and real <= sim
    assert all(cell.extrapolated == (cell.point.workload.processes == 10_000) for cell in plan.cells)


def test_a_newer_model_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["mechanism=shmem", "processes=3", "tracking=none", f"out={tmp_path}/o"]
    mshare_bench.run(*command)
    assert [row["state"] for row in outlook(read_request(command))] == ["done"]
    monkeypatch.setattr(SimEngine, "model", "newer")
    assert [row["why"] for row in outlook(read_request(command))] == ["stored under other models or cost profile"]


def test_an_outlook_writes_nothing_and_knows_what_is_done(tmp_path: Path) -> None:
    command = ["mechanism=shmem,thp", "processes=1,2", "tracking=none", f"out={tmp_path}/o"]
    request = read_request(command, multirun=True)
    assert {row["why"] for row in outlook(request)} == {"new"}
    assert list(tmp_path.glob("o*")) == []
    mshare_bench.run("mechanism=thp", *command[1:], multirun=True)
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    states = {(row["mechanism"], row["processes"]): row["state"] for row in outlook(request)}
    assert states == {(name, n): "done" if name == "thp" else "runs" for name in ("shmem", "thp") for n in (1, 2)}
    assert {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()} == before


def test_conditions_of_a_sweep_leave_cells_out() -> None:
    keys = ["mechanism=shmem,mshare", "processes=1,10,100", "region=64MiB"]
    conditions = ["sweep.where=processes>1", "sweep.exclude=processes>50"]
    plan = plan_of(read_request(["sweep=sizes", *keys, *conditions], multirun=True))
    found = {(one.point.mechanism, one.point.workload.processes) for one in plan.cells}
    assert found == {("shmem", 10), ("mshare", 10)}


def test_a_real_cell_needs_a_topology_that_is_here_and_a_prediction_does_not() -> None:
    keys = ["mechanism=shmem", "processes=2", "region=64MiB", "topology=xeon_2s"]
    with pytest.raises(PlacementError, match="topology=xeon_2s: real cells run on this machine as it is"):
        plan_of(read_request([*keys, "engine=real"]))
    plan = plan_of(read_request([*keys, "engine=both"]))
    assert [one.engine for one in plan.cells] == ["sim"]
    assert [(one.cell.engine, "topology=here" in one.reason) for one in plan.refusals] == [("real", True)]


def test_the_kind_of_machine_that_has_a_points_real_results_is_followed_by_a_cluster_only(tmp_path: Path) -> None:
    cells = [cell_of("shmem", engine="real"), cell_of("thp", 3, engine="real"), cell_of("hugetlb")]
    here = read_request([]).settings
    cluster = replace(here, cluster=ClusterSettings("10.0.0.1:6379"))
    with Store.create(tmp_path / "o", "s") as store:
        store.append(rows_of(cells, failing=("thp",)).tables())
        assert kinds_of(store, cluster) == {(cells[0].point.baseline_digest, cells[0].machine)}
        assert kinds_of(store, here) == set()
