"""Every bundled topology reads, has its figures' sources, and one that can't be is refused in one line."""

from pathlib import Path

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.request import read_request
from mshare_bench.config.topologies import topology_of
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.study import plan_of

COMPOSER = Composer()
SIZES = {
    "xeon_2s": (1, 2), "xeon_4s": (1, 4), "xeon_4s_haswell": (1, 4), "epyc_nps1": (1, 2), "epyc_nps2": (1, 4),
    "epyc_nps4": (1, 8), "cxl": (1, 3), "cluster_4": (4, 8), "cluster_10000": (10_000, 20_000), "cluster_mixed": (48, 192),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSER.options("topology"))
def test_every_bundled_topology_reads_and_says_where_its_figures_come_from(name: str) -> None:
    topology = topology_of(COMPOSER.compose([f"topology={name}"]).values)
    assert topology is not None
    assert topology.name == name
    if name in SIZES:
        assert (topology.machines, topology.nodes) == SIZES[name]
    for cohort in topology.cohorts:
        sources, machine = dict(cohort.machine.sources), cohort.machine
        wanted = {"nodes", "distances"}
        wanted |= {"latency_ns"} if machine.latency_ns else set()
        wanted |= {"bandwidth_gb_s"} if machine.bandwidth else set()
        wanted |= {"caches"} if machine.caches else set()
        assert wanted <= {key for key, text in sources.items() if text}
    assert topology.network is None or topology.network.source


def test_nothing_is_placed_where_no_topology_is_named() -> None:
    assert topology_of(COMPOSER.compose([]).values) is None


def test_overrides_change_a_topology_and_what_runs_again() -> None:
    def model(*more: str) -> str:
        (cell,) = plan_of(read_request(["topology=cluster_4", "mechanism=shmem", *more])).cells
        return cell.model

    assert model() != model("topology.machines.ice_lake_2s.count=5")
    assert model() == model()


def written(folder: Path, machine: str) -> str:
    (folder / "topology").mkdir()
    (folder / "topology" / "odd.yaml").write_text(f"name: odd\nmachines:\n  m: {machine}\n")
    return str(folder)


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        ("{nodes: [{cpus: 2, memory: 0}]}", "topology.machines.m.nodes.memory=0: no node has memory"),
        ("{nodes: [{cpus: 0, memory: 1GiB}]}", "no node has a CPU"),
        (
            "{nodes: [{cpus: 1, memory: 1GiB}, {cpus: 1, memory: 1GiB}], distances: [[10, -5], [-5, 10]]}",
            r"topology.machines.m.distances\[0\]\[1\]=-5: must be positive",
        ),
        (
            "{nodes: [{cpus: 1, memory: 1GiB}, {cpus: 1, memory: 1GiB}], distances: [[10, 20], [21, 10]]}",
            "topology.machines.m.distances: 20 from node 0 to 1, but 21 back: must be symmetric",
        ),
        ("{nodes: [{cpus: 1, memory: -1GiB}]}", "memory=-1GiB: must not be negative"),
    ],
)
def test_a_topology_that_can_not_be_is_refused_by_its_key(tmp_path: Path, machine: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        plan_of(read_request(["topology=odd", "mechanism=shmem"], config_dir=written(tmp_path, machine)))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["placement=bind", "placement.nodes=[7]"], "placement.nodes=0:7: ice_lake_2s has the nodes 0, 1"),
        (["placement=bind", "placement.nodes=['1:0']"], "placement.nodes=1:0: topology xeon_2s has machines 0 to 0"),
        (
            ["placement.exclusive=true", "processes=161"],
            "placement.exclusive=true: 161 processes, but topology xeon_2s has 160 CPUs",
        ),
        (["placement.tables=mitosis"], "placement.tables=mitosis: there is no such policy; there are first_touch"),
        (["region=1TiB"], "the largest machine of xeon_2s has 512 GiB|groups need"),
    ],
)
def test_a_placement_that_can_not_be_is_refused_before_anything_runs(overrides: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        plan_of(read_request(["topology=xeon_2s", "mechanism=shmem", *overrides]))
    assert caught.value.exit_code == 2


def test_in_a_sweep_what_does_not_fit_is_skipped_and_the_rest_runs() -> None:
    request = read_request(
        ["topology=xeon_2s", "mechanism=shmem", "placement.exclusive=true", "processes=160,161"], multirun=True
    )
    plan = plan_of(request)
    assert [cell.point.workload.processes for cell in plan.cells] == [160]
    (refused,) = plan.refusals
    assert "161 processes, but topology xeon_2s has 160 CPUs" in refused.reason
    assert issubclass(PlacementError, ConfigError)


def test_placing_here_needs_no_name_and_reads_this_machine() -> None:
    (plain,) = plan_of(read_request(["mechanism=shmem"])).cells
    (placed,) = plan_of(read_request(["mechanism=shmem", "placement=interleave"])).cells
    assert plain.point.machines is None
    assert placed.point.topology == plain.point.topology == "here"
    assert placed.point.machines is not None
    assert placed.point.machines.machines == 1


def test_this_machine_is_no_other_for_real_cells() -> None:
    keys = ["topology=xeon_2s", "mechanism=shmem"]
    with pytest.raises(PlacementError, match="topology=xeon_2s: real cells run on this machine as it is"):
        plan_of(read_request([*keys, "engine=real"]))
    plan = plan_of(read_request([*keys, "engine=both"]))
    assert [cell.engine for cell in plan.cells] == ["sim"]
    assert len(plan.refusals) == 1
    several = ["topology=cluster_4", "mechanism=shmem", "engine=real"]
    with pytest.raises(PlacementError, match="topology=cluster_4: real cells run on this machine as it is"):
        plan_of(read_request(several))
    (spread,) = plan_of(read_request([*several, "cluster.address=10.0.0.1:6379"])).cells
    assert (spread.engine, spread.point.topology) == ("real", "cluster_4")
    guest = plan_of(read_request(["topology=guest_2n", "mechanism=shmem", "engine=real", "host=guest", "processes=2"]))
    assert [cell.host for cell in guest.cells] == ["guest"]
