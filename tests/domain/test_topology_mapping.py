from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mshare_bench.domain.topology import Topology
from mshare_bench.domain.topology_mapping import (
    format_cpu_list,
    parse_cpu_list,
    topology_from_mapping,
    topology_to_mapping,
)
from mshare_bench.errors import ConfigError

CONF = Path(__file__).parent.parent.parent / "conf"
NAMES = sorted(path.stem for path in (CONF / "topology").glob("*.yaml"))


def plain() -> dict[str, Any]:
    return {
        "name": "t",
        "machines": {
            "m": {
                "nodes": [
                    {"cpus": 2, "memory": "1GiB", "socket": 0},
                    {"id": 3, "cpus": 2, "memory": "2GiB", "socket": 1},
                ],
                "distances": {"local": 10, "remote": 21},
            }
        },
    }


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return {name: OmegaConf.to_container(compose(overrides=[f"+topology={name}"])) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_topology_that_is_shipped_is_sound(name: str, composed: dict[str, Any]) -> None:
    mapping = composed[name]["topology"]
    topology = topology_from_mapping(mapping)
    assert topology.name == name
    assert topology_from_mapping(topology_to_mapping(topology)) == topology
    for cohort in topology.cohorts:
        entry = mapping["machines"][cohort.machine.name]
        sources = dict(cohort.machine.sources)
        for figure in {"nodes", "distances", "latency_ns", "bandwidth_gb_s", "caches"} & set(entry):
            assert sources[figure], f"{name}: {figure} has no source"
    assert topology.machines == 1 or topology.network.source  # type: ignore[union-attr]


def test_the_figures_that_others_rely_on(composed: dict[str, Any]) -> None:
    def read(name: str) -> Topology:
        return topology_from_mapping(composed[name]["topology"])

    xeon = read("xeon_2s").machine()
    assert xeon.latencies() == ((89.2, 142.7), (142.7, 89.2))
    assert xeon.bandwidth == ((175.7e9, 55.7e9), (55.7e9, 175.7e9))
    assert [len(read(f"epyc_nps{n}").machine().nodes) for n in (1, 2, 4)] == [2, 4, 8]
    assert read("epyc_nps4").machine().distances[0] == (10, 12, 12, 12, 32, 32, 32, 32)
    assert [node.id for node in read("cxl").machine().nodes if not node.cpus] == [2]
    assert [read(f"cluster_{n}").machines for n in (4, 10_000)] == [4, 10_000]
    assert len(read("cluster_10000").cohorts) == 1
    assert len(read("guest_4n").machine().nodes) == 4


def test_cpus_are_numbered_on_and_ids_follow() -> None:
    machine = topology_from_mapping(plain()).machine()
    assert [node.cpus for node in machine.nodes] == [(0, 1), (2, 3)]
    assert machine.node_ids == (0, 3)
    assert machine.distances == ((10, 21), (21, 10))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("machines", {}, "has no machine"),
        ("colour", "red", "topology.colour=red: there is no such key"),
        ("name", None, "topology.name=null: is missing"),
        ("machines.m.count", 0, "topology.machines.m.count=0: must be at least 1"),
        ("machines.m.count", "many", "topology.machines.m.count=many: not a whole number"),
        ("machines.m.nodes", "two", "topology.machines.m.nodes=two: must be a list"),
        ("machines.m.nodes.0.memory", "1 parsec", "nodes\\[0\\].memory=1 parsec: not a size"),
        ("machines.m.nodes.0.memory", "-1GiB", "must not be negative"),
        ("machines.m.nodes.0.cpu_list", "0-3", "not both"),
        ("machines.m.nodes.1.cpus", -2, "cpus=-2: must be at least 0"),
        ("machines.m.nodes.1.size", 1, "nodes\\[1\\].size=1: there is no such key"),
        ("machines.m.distances", {"local": 10}, "remote is missing"),
        ("machines.m.distances", [[10, 20]], "distances=1x2: must be 2x2"),
        ("machines.m.distances", [[10, -5], [-5, 10]], "distances\\[0\\]\\[1\\]=-5: must be positive"),
        ("machines.m.distances", [[10, 20], [30, 10]], "20 from node 0 to 3, but 30 back"),
        ("machines.m.distances", [[10, 20.5], [20.5, 10]], "distances=20.5: not a whole number"),
        ("machines.m.distances", [[10, "far"], ["far", 10]], "distances=far: not a number"),
        ("machines.m.caches", [{"level": 1}], "caches\\[0\\].size=null: is missing"),
        ("network", {"bandwidth_gb_s": 0, "latency": "1us"}, "topology.network.bandwidth=0"),
        ("network", {"bandwidth_gb_s": 1}, "topology.network.latency=null: is missing"),
        ("network", "fast", "topology.network=fast: must be a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_value(path: str, value: object, complaint: str) -> None:
    mapping = plain()
    at: Any = mapping
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    at[last] = value
    with pytest.raises(ConfigError, match=complaint):
        topology_from_mapping(mapping)


@given(st.sets(st.integers(0, 5000), max_size=60))
def test_cpu_lists_survive_a_round_trip(cpus: set[int]) -> None:
    assert parse_cpu_list(format_cpu_list(sorted(cpus))) == tuple(sorted(cpus))


def test_cpu_lists_are_the_kernels() -> None:
    assert parse_cpu_list("0-3,8,10-11\n") == (0, 1, 2, 3, 8, 10, 11)
    assert parse_cpu_list("\n") == ()
    assert format_cpu_list((0, 1, 2, 3, 8, 10, 11)) == "0-3,8,10-11"
    for bad in ("a", "3-", "-3", "5-2", "1;2"):
        with pytest.raises(ConfigError, match=f"cpu_list={bad}"):
            parse_cpu_list(bad)
