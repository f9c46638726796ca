"""`round_robin`: nodes in turn."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.place import place
from tests.placement.by_hand import five_unlike, nodes_of, topology, units


def test_nodes_come_in_turn_with_data_beside() -> None:
    made = place(topology(2), five_unlike(), "round_robin")
    assert nodes_of(made) == [(0, 0), (0, 2), (1, 0), (1, 2), (0, 0)]
    assert all(seat.data == ((seat.node, 1.0),) for seat in made.seats)


@given(machines=st.integers(1, 3), nodes=st.integers(1, 4), count=st.integers(1, 40))
def test_like_units_are_dealt_out_evenly(machines: int, nodes: int, count: int) -> None:
    dealt = Counter(nodes_of(place(topology(machines, nodes), units(count, cpus=0.1, private_bytes=0), "round_robin")))
    counts = [dealt[machine, 2 * node] for machine in range(machines) for node in range(nodes)]
    assert sum(counts) == count
    assert counts == sorted(counts, reverse=True)
    assert max(counts) - min(counts) <= 1


def test_a_full_node_is_passed_over_and_the_turn_goes_on_after_it() -> None:
    large, small = units(1, cpus=4.0), units(4, cpus=1.0, private_bytes=0)
    made = place(topology(1, 3), [*large, *small], "round_robin")
    assert nodes_of(made)[0] == (0, 0)
    assert Counter(nodes_of(made)[1:]) == {(0, 2): 2, (0, 4): 2}


def test_every_placement_starts_anew() -> None:
    assert place(topology(), units(1), "round_robin") == place(topology(), units(1), "round_robin")
