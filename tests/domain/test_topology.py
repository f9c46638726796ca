import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.topology import (
    ASSUMED_LOCAL_NS,
    Cache,
    Machine,
    MachineCohort,
    Network,
    Node,
    Topology,
    require_node,
    require_symmetric,
)
from mshare_bench.errors import ConfigError, PlacementError

GIB = 1 << 30


def machine(name: str = "m", **changes: object) -> Machine:
    fields: dict[str, object] = {
        "nodes": (Node(0, (0, 1), GIB, 0), Node(1, (2, 3), GIB, 1)),
        "distances": ((10, 20), (20, 10)),
    }
    return Machine(name, **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"nodes": (), "distances": ()}, "nodes=\\[\\]"),
        ({"nodes": (Node(0, (0,), 0), Node(1, (1,), 0))}, "memory=0: no node has memory"),
        ({"nodes": (Node(0, (), GIB), Node(1, (), GIB))}, "no node has a CPU"),
        ({"nodes": (Node(1, (0,), GIB), Node(0, (1,), GIB))}, "nodes=\\[1, 0\\]: ids must ascend"),
        ({"nodes": (Node(1, (0,), GIB), Node(1, (1,), GIB))}, "nodes=\\[1, 1\\]"),
        ({"nodes": (Node(0, (0, 7), GIB), Node(1, (7,), GIB))}, "cpus=7: this CPU is in two nodes"),
        ({"distances": ((10, 20),)}, "distances=1x2: must be 2x2"),
        ({"distances": ((10, -20), (-20, 10))}, "distances\\[0\\]\\[1\\]=-20"),
        ({"distances": ((10, 20), (21, 10))}, "20 from node 0 to 1, but 21 back"),
        ({"latency_ns": ((80.0, 0.0), (140.0, 80.0))}, "latency_ns\\[0\\]\\[1\\]=0.0"),
        ({"bandwidth": ((1e9,),)}, "bandwidth=1x1: must be 2x2"),
    ],
)
def test_an_impossible_machine_is_refused_naming_key_and_value(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        machine(**changes)


@pytest.mark.parametrize(
    "fields",
    [{"id": -1, "cpus": (), "memory": 1}, {"id": 0, "cpus": (-1,), "memory": 1}, {"id": 0, "cpus": (), "memory": -1}],
)
def test_a_node_has_no_negative_figure(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="-1: must not be negative"):
        Node(**fields)  # type: ignore[arg-type]


def test_kinds_are_checked() -> None:
    with pytest.raises(ConfigError, match="kind=optane"):
        Node(0, (0,), GIB, kind="optane")
    with pytest.raises(ConfigError, match="kind=victim"):
        Cache(3, 1024, "victim")
    with pytest.raises(ConfigError, match="size=0"):
        Cache(3, 0)


def test_an_asymmetric_machine_has_to_be_said() -> None:
    odd = machine(distances=((10, 20), (21, 10)), asymmetric=True)
    assert odd.distances[1][0] == 21
    with pytest.raises(ConfigError, match="but 21 back"):
        require_symmetric(odd)


def test_nodes_are_found_by_the_kernels_ids() -> None:
    gaps = machine(
        nodes=(Node(0, (0,), GIB), Node(8, (), GIB), Node(9, (1,), 0)),
        distances=((10, 15, 20), (15, 10, 25), (20, 25, 10)),
    )
    assert gaps.index(8) == 1
    assert require_node(gaps, 9, cpus=True).cpus == (1,)
    for bad, needs, complaint in (
        (1, {}, "has the nodes 0, 8, 9"),
        (8, {"cpus": True}, "no CPU"),
        (9, {"memory": True}, "no memory"),
    ):
        with pytest.raises(PlacementError, match=f"node={bad}: .*{complaint}"):
            require_node(gaps, bad, **needs)


def test_memory_falls_back_to_the_nearest_node_that_has_some() -> None:
    odd = machine(
        nodes=(Node(0, (0,), GIB), Node(1, (1,), 0), Node(2, (2,), GIB), Node(3, (), GIB)),
        distances=((10, 20, 30, 14), (20, 10, 20, 40), (30, 20, 10, 255), (14, 40, 255, 10)),
    )
    assert odd.nearest(0) == (0, 3, 2)
    assert odd.nearest(1) == (0, 2, 3)
    assert odd.nearest(2) == (2, 0)  # 255: can't be reached


def test_unknown_latencies_follow_the_distances() -> None:
    assert machine().latencies() == ((ASSUMED_LOCAL_NS, 2 * ASSUMED_LOCAL_NS), (2 * ASSUMED_LOCAL_NS, ASSUMED_LOCAL_NS))
    given_in_part = machine(latency_ns=((80.0, None), (150.0, None)))
    assert given_in_part.latencies() == ((80.0, 160.0), (150.0, 150.0))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_machines_of_a_cohort_are_counted_not_repeated(counts: list[int]) -> None:
    cohorts = tuple(MachineCohort(machine(f"m{i}"), count) for i, count in enumerate(counts))
    topology = Topology("t", cohorts, Network(1e9, 1000))
    assert (topology.machines, topology.nodes, topology.cpus) == (sum(counts), 2 * sum(counts), 4 * sum(counts))
    assert topology.memory == 2 * GIB * sum(counts)
    end = 0
    for i, count in enumerate(counts):
        assert topology.machine(end).name == f"m{i}"
        end += count
        assert topology.machine(end - 1).name == f"m{i}"
    for number in (-1, end):
        with pytest.raises(PlacementError, match=f"machine={number}: "):
            topology.machine(number)


def test_an_impossible_topology_is_refused() -> None:
    one = MachineCohort(machine())
    with pytest.raises(ConfigError, match="has no machine"):
        Topology("t", ())
    with pytest.raises(ConfigError, match="network=null: topology t has 2 machines"):
        Topology("t", (MachineCohort(machine(), 2),))
    with pytest.raises(ConfigError, match="occurs twice"):
        Topology("t", (one, one), Network(1e9, 0))
    with pytest.raises(ConfigError, match="count=0"):
        MachineCohort(machine(), 0)
    with pytest.raises(ConfigError, match="bandwidth=0"):
        Network(0, 0)
    with pytest.raises(ConfigError, match="latency=-1"):
        Network(1, -1)
