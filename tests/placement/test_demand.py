import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.topology import Machine, MachineCohort, Node, Topology
from mshare_bench.errors import ConfigError, PlacementError
from mshare_bench.placement.demand import Demand, split_to_fit, total_cpus, with_exclusive_cpus


def topology(*cpus: int) -> Topology:
    first, nodes = 0, []
    for i, count in enumerate(cpus):
        nodes.append(Node(i, tuple(range(first, first + count)), 1 << 30))
        first += count
    distances = tuple(tuple(10 if i == j else 20 for j in range(len(cpus))) for i in range(len(cpus)))
    return Topology("t", (MachineCohort(Machine("m", tuple(nodes), distances)),))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"processes": 0}, "groups.g.processes=0: must be at least 1"),
        ({"count": 0}, "groups.g.count=0"),
        ({"cpus": -1.0}, "groups.g.cpus=-1.0: must not be negative"),
        ({"accesses_per_s": float("nan")}, "accesses_per_s=nan"),
        ({"walk_share": 1.5}, "walk_share=1.5: must be between 0 and 1"),
        ({"shared_share": 0.5}, "domain=null: shared bytes or accesses need a domain"),
        ({"traffic": (("h", -1.0),)}, "traffic={'h': -1.0}"),
    ],
)
def test_an_impossible_demand_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Demand("g", **fields)  # type: ignore[arg-type]


@given(st.integers(1, 300), st.floats(0.01, 4.0), st.integers(1, 5))
def test_a_group_is_cut_into_units_that_fit_and_lose_nothing(processes: int, busy: float, count: int) -> None:
    whole = Demand(
        "g", processes, processes * busy, 1000 * processes, 4096, accesses_per_s=7.0 * processes, count=count
    )
    parts = split_to_fit([whole], topology(4, 8))
    assert all(part.cpus <= 4 + 1e-9 for part in parts)
    assert sum(part.count * part.processes for part in parts) == processes * count
    assert total_cpus(parts) == pytest.approx(total_cpus([whole]))
    assert sum(part.count * part.accesses_per_s for part in parts) == pytest.approx(count * whole.accesses_per_s)
    assert sum(part.count * part.private_bytes for part in parts) == count * whole.private_bytes
    assert sum(part.count * part.table_bytes for part in parts) == count * whole.table_bytes
    sizes = [part.processes for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_group_that_fits_is_left_alone() -> None:
    small = Demand("g", 10, 4.0, traffic=(("h", 5.0),), count=3)
    assert split_to_fit([small], topology(4)) == (small,)


def test_a_process_larger_than_a_node_is_refused() -> None:
    with pytest.raises(
        PlacementError, match="groups.g.cpus=5: a process of it keeps more CPUs busy than a node of t has \\(4\\)"
    ):
        split_to_fit([Demand("g", 2, 10.0)], topology(4, 8))


def test_exclusive_gives_every_process_a_cpu_or_says_what_is_missing() -> None:
    (one,) = with_exclusive_cpus([Demand("g", 6, 0.5)], topology(4, 4))
    assert one.cpus == 6
    with pytest.raises(PlacementError, match="exclusive=true: 10 processes, but t has 8 CPUs"):
        with_exclusive_cpus([Demand("g", 5, 0.5, count=2)], topology(4, 4))
