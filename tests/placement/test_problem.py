import pytest

from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.problem import Problem, make_problem
from tests.placement.by_hand import GIB, uneven


def test_nodes_of_all_machines_are_numbered_through() -> None:
    problem = make_problem(uneven(3), [Demand("g")], overcommit=1.5)
    assert list(problem.machine_of) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(problem.cpu_room[:3]) == [3.0, 3.0, 0.0]
    assert problem.node_id(4) == 3
    assert len(problem.kinds) == 1


def test_penalties_are_over_the_fastest_load() -> None:
    kind = make_problem(uneven(), [Demand("g")]).kinds[0]
    assert kind.penalty[:2].tolist() == [[0.0, 60.0, 120.0], [60.0, 10.0, 180.0]]
    assert kind.order[1] == (1, 0, 2)
    assert kind.replicas == (0, 1)


def test_reads_are_split_by_what_they_go_to() -> None:
    demand = Demand("g", domain="d", shared_table_bytes=1, accesses_per_s=1000, walk_share=0.2, shared_share=0.25)
    assert make_problem(uneven(), [demand]).rates(0) == pytest.approx((600, 150, 200, 50))
    alone = Demand("g", domain="d", accesses_per_s=1000, walk_share=0.2, shared_share=0.25)
    assert make_problem(uneven(), [alone]).rates(0) == pytest.approx((600, 200, 200, 0))


def test_like_demands_are_merged_unless_others_send_to_them() -> None:
    alike = [Demand("a"), Demand("b"), Demand("c", cpus=0.5)]
    problem = make_problem(uneven(), alike)
    assert [one.count for one in problem.classes] == [2, 1]
    assert problem.members == (((0, 1), (1, 1)), ((2, 1),))
    talk = [Demand("a", cpus=0.1, count=3, traffic=(("b", 6.0),)), Demand("b", cpus=0.1, count=2)]
    problem = make_problem(uneven(2), talk)
    assert [one.count for one in problem.classes] == [3, 1, 1]
    assert problem.traffic == ((0, 1, 3.0), (0, 2, 3.0))
    assert problem.traffic_price() == pytest.approx(0.5 + 64_000 / (64 << 10))


def test_all_memory_is_worth_as_much_as_all_cpus() -> None:
    problem = make_problem(uneven(5), [Demand("g")])
    assert problem.memory_price() * problem.topology.memory == pytest.approx(problem.topology.cpus * 1e9)


def make(*demands: Demand, **options: float) -> Problem:
    return make_problem(uneven(), demands, **options)


@pytest.mark.parametrize(
    ("demands", "error", "complaint"),
    [
        ((), ConfigError, "nothing to place"),
        (
            (Demand("g", cpus=1.5, count=4),),
            PlacementError,
            "overcommit=1: .* 6 CPUs busy, t has 4; 1.5 or more would do",
        ),
        ((Demand("g", cpus=2.5),), PlacementError, "groups.g.cpus=2.5: no node of t has so many \\(2\\); split"),
        ((Demand("g", private_bytes=17 * GIB),), PlacementError, "groups need 17 GiB, t has 16 GiB"),
        ((Demand("g", traffic=(("x", 1.0),)),), ConfigError, "groups.g.traffic=x: there is no such group"),
        (
            (Demand("g", domain="d", shared_bytes=1), Demand("h", domain="d", shared_bytes=2)),
            ConfigError,
            "groups.h.shared_bytes=2: domain d has 1 bytes",
        ),
    ],
)
def test_what_can_not_be_placed_is_said_at_once(demands: tuple[Demand, ...], error: type, complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        make(*demands)


def test_a_unit_larger_than_a_machine_is_refused() -> None:
    with pytest.raises(
        PlacementError, match="groups.g: one unit and its domain need 20 GiB, the largest machine of t has 16 GiB"
    ):
        make_problem(uneven(2), [Demand("g", private_bytes=10 * GIB, domain="d", shared_bytes=10 * GIB)])


def test_overcommit_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="overcommit=0"):
        make(Demand("g"), overcommit=0)
