"""What lies on every node: exact, adding up, and where the policies say."""

from dataclasses import replace

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.topologies import topology_of
from mshare_bench.domain.cell import Point
from mshare_bench.domain.topology import Topology
from mshare_bench.errors import PlacementError
from mshare_bench.sim.accounting import account
from mshare_bench.sim.places import Places, places_of
from mshare_bench.sim.points import make_point

MIB, GIB = 1 << 20, 1 << 30
COMPOSER = Composer()
MECHANISMS = ["shmem", "mshare", "hugetlb", "ksm", "inherit", "anon_thp", "shared_mm", "private_file"]
WORKLOADS = {"region": 64, "db_buffer_pool": 40, "hpc_ranks": 33, "vm_hosts": 32, "redis_cluster": 12}


def topology(name: str) -> Topology:
    found = topology_of(COMPOSER.compose([f"topology={name}"]).values)
    assert found is not None
    return found


def placed(name: str, placement: str, mechanism: str = "shmem", processes: int = 64, **more: object) -> Point:
    point = make_point(mechanism, processes, **{"region": GIB, **more})  # type: ignore[arg-type]
    return replace(point, topology=name, placement=placement, machines=topology(name))


def by_node(places: Places, what: str) -> list[int]:
    return [getattr(use, what) for use in places.nodes.values()]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    ("name", "placement"),
    [
        ("xeon_2s", "first_touch"),
        ("xeon_4s", "interleave;tables=interleave"),
        ("cxl", "spread;tables=replicate"),
        ("cluster_4", "round_robin;tables=follow_majority"),
    ],
)
def test_nodes_add_up_to_the_point(mechanism: str, workload: str, name: str, placement: str) -> None:
    region = 1280 * MIB if workload == "hpc_ranks" else 960 * MIB  # whole huge pages in every part
    point = placed(name, placement, mechanism, WORKLOADS[workload], region=region, workload=workload)
    places = places_of(point)
    whole = places.account
    assert sum(by_node(places, "processes")) == WORKLOADS[workload]
    assert sum(by_node(places, "data_bytes")) == whole.total("data_bytes")
    assert sum(by_node(places, "page_table_bytes")) == whole.page_table_bytes
    assert min(by_node(places, "data_bytes")) >= 0
    assert min(by_node(places, "page_table_bytes")) >= 0
    plain = account(point)
    if len(places.parts) == 1:
        assert whole.total("data_bytes") == plain.total("data_bytes")
        assert whole.total("minor_faults") == plain.total("minor_faults")
        if "replicate" not in placement:
            assert whole.tables == plain.tables


def test_first_touch_puts_shared_data_with_the_first_and_tables_with_each() -> None:
    places = places_of(placed("xeon_2s", "first_touch"))
    assert by_node(places, "data_bytes") == [GIB, 0]
    assert by_node(places, "processes") == [32, 32]
    assert by_node(places, "page_table_bytes") == [32 * 514 * 4096] * 2


def test_shared_tables_lie_on_one_node_and_serve_all() -> None:
    places = places_of(placed("xeon_2s", "first_touch", "mshare"))
    assert by_node(places, "page_table_bytes") == [514 * 4096, 0]


def test_a_replica_on_every_node_is_counted() -> None:
    for mechanism, sets in (("shmem", 64), ("mshare", 1)):
        places = places_of(placed("xeon_4s", "first_touch;tables=replicate", mechanism))
        assert by_node(places, "page_table_bytes") == [sets * 514 * 4096] * 4
        assert places.account.page_table_bytes == 4 * sets * 514 * 4096


def test_a_domain_that_crosses_machines_has_a_copy_of_data_and_tables_on_each() -> None:
    one = places_of(placed("cluster_4", "pack", "mshare"))
    four = places_of(placed("cluster_4", "first_touch", "mshare"))
    assert (one.account.total("data_bytes"), one.account.page_table_bytes) == (GIB, 514 * 4096)
    assert (four.account.total("data_bytes"), four.account.page_table_bytes) == (4 * GIB, 4 * 514 * 4096)
    # Private tables are as many wherever their processes run.
    spread = places_of(placed("cluster_4", "first_touch", "shmem"))
    assert spread.account.page_table_bytes == 64 * 514 * 4096


def test_holes_are_filled_once_on_every_machine() -> None:
    one = places_of(placed("cluster_4", "pack", populate="first_touch", region=64 * MIB))
    four = places_of(placed("cluster_4", "first_touch", populate="first_touch", region=64 * MIB))
    filled, around = 64 * MIB // 4096, 64 * MIB // (64 << 10)
    assert one.account.total("minor_faults") == filled + 63 * around
    assert four.account.total("minor_faults") == 4 * filled + 60 * around


def test_a_guest_is_never_torn_apart() -> None:
    places = places_of(placed("cluster_4", "first_touch", processes=32, workload="vm_hosts", region=16 * GIB))
    assert by_node(places, "processes") == [4] * 8
    assert by_node(places, "data_bytes") == [2 * GIB] * 8


def test_bound_processes_and_their_memory_stay_on_the_named_nodes() -> None:
    places = places_of(placed("xeon_4s", "bind;nodes=0:2", "shmem", processes=30))
    assert by_node(places, "processes") == [0, 0, 30, 0]
    assert by_node(places, "data_bytes") == [0, 0, GIB, 0]
    with pytest.raises(PlacementError, match="placement.nodes=0:9: ivy_bridge_ex_4s has the nodes 0, 1, 2, 3"):
        places_of(placed("xeon_4s", "bind;nodes=0:9"))


def test_optimal_is_no_dearer_than_any_policy() -> None:
    from mshare_bench.placement.cost import cost_of

    def cost(placement: str) -> float:
        places = places_of(placed("xeon_2s", placement, "mshare", processes=40))
        return cost_of(places.problem, places.assignment).total

    best = cost("optimal")
    for policy in ("first_touch", "spread", "interleave;tables=interleave", "pack", "spread;tables=replicate"):
        assert best <= cost(policy) * (1 + 1e-9)


def test_many_processes_on_many_machines_take_moments() -> None:
    places = places_of(placed("cluster_100", "first_touch", "mshare", processes=100_000))
    assert sum(by_node(places, "processes")) == 100_000
    assert max(by_node(places, "processes")) - min(by_node(places, "processes")) <= 2 * -(-100_000 // 512)
    assert places.account.page_table_bytes == 100 * 514 * 4096
