"""Units seated one after the other: CPUs, the domain's copy, private data and tables; what does not fit spills."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.topology import MachineCohort, Topology
from mshare_bench.errors import PlacementError
from mshare_bench.placement.demand import Demand
from mshare_bench.placement.place import place
from mshare_bench.placement.problem import make_problem
from mshare_bench.placement.registry import table_policies
from mshare_bench.placement.seating import DataLayout, Occupancy, idlest, seat_in_order
from tests.placement.by_hand import GIB, machine, nodes_of, topology, units

FIRST_TOUCH = table_policies()["first_touch"]


def test_private_data_spills_to_the_nearest_node() -> None:
    three = Topology("t", (MachineCohort(machine(4 * GIB, 4 * GIB, 16 * GIB)),))
    made = place(three, [Demand("g", private_bytes=10 * GIB)], "pack")
    assert made.seats[0].data == ((0, 0.4), (2, 0.4), (4, pytest.approx(0.2)))


def test_interleaved_data_levels_over_what_is_left() -> None:
    three = Topology("t", (MachineCohort(machine(2 * GIB, 16 * GIB, 16 * GIB)),))
    made = place(three, [Demand("g", private_bytes=12 * GIB)], "interleave")
    assert dict(made.seats[0].data) == {0: pytest.approx(2 / 12), 2: pytest.approx(5 / 12), 4: pytest.approx(5 / 12)}


def test_shared_data_that_fits_no_node_whole_is_spread() -> None:
    made = place(topology(), units(1, domain="d", shared_bytes=20 * GIB), "pack")
    assert made.copies[0].data == ((0, 0.5), (2, 0.5))


@given(sizes=st.lists(st.integers(1, 16), min_size=1, max_size=5), wanted=st.integers(1, 80), interleave=st.booleans())
def test_every_byte_lies_somewhere_and_no_node_holds_more_than_it_has(
    sizes: list[int], wanted: int, interleave: bool
) -> None:
    where = Topology("t", (MachineCohort(machine(*[size * GIB for size in sizes])),))
    size = min(wanted, sum(sizes)) * GIB
    made = place(where, [Demand("g", private_bytes=size)], "interleave" if interleave else "pack")
    held = {node: share * size / GIB for node, share in made.seats[0].data}
    assert sum(held.values()) == pytest.approx(size / GIB)
    assert all(amount <= sizes[node // 2] + 1e-6 for node, amount in held.items())
    # No byte is farther away, or more than its even share on one node, than it has to be.
    full = [amount == pytest.approx(sizes[node // 2]) for node, amount in sorted(held.items())]
    if interleave:
        rest = [held.get(2 * i, 0.0) for i in range(len(sizes)) if held.get(2 * i) != pytest.approx(sizes[i])]
        assert max(rest, default=0.0) == pytest.approx(min(rest, default=0.0))
    else:
        assert all(full[:-1])


def test_a_unit_whose_memory_finds_no_room_leaves_all_as_it_was() -> None:
    """The copy of its domain was already made when its own data did not fit any more."""
    problem = make_problem(topology(), [Demand("g", 1, 1.0, 20 * GIB, 0, "d", 10 * GIB)])
    occupancy = Occupancy(problem, FIRST_TOUCH, DataLayout(nodes=frozenset({0})))
    before = occupancy.memory_free.copy(), occupancy.cpu_free.copy()
    assert not occupancy.seat(0, 0)
    assert (occupancy.memory_free == before[0]).all() and (occupancy.cpu_free == before[1]).all()
    assert occupancy.homes == {} and occupancy.assignment("p", "t").seats == ()


def test_what_a_unit_takes_is_gone_and_the_copy_is_made_once() -> None:
    problem = make_problem(topology(), units(2, domain="d", shared_bytes=4 * GIB, shared_table_bytes=8 << 20))
    occupancy = Occupancy(problem, FIRST_TOUCH, DataLayout())
    assert occupancy.seat(0, 0) and occupancy.seat(0, 1)
    assert occupancy.cpu_free.tolist() == [2.0, 2.0]
    assert occupancy.memory_free.tolist() == [11 * GIB - (8 << 20), 15 * GIB]
    assert occupancy.homes == {(0, 0): 0}


def test_the_idlest_node_is_that_with_the_largest_share_left_not_with_the_most_cpus() -> None:
    large, small = replace(machine(16 * GIB, cpus=8), name="large"), machine(16 * GIB, cpus=2)
    where = Topology("t", (MachineCohort(large, 1), MachineCohort(small, 1)), topology(2).network)
    occupancy = Occupancy(make_problem(where, units(1)), FIRST_TOUCH, DataLayout())
    occupancy.cpu_free[:] = [6.0, 2.0]
    assert idlest(occupancy, 0, np.array([True, True])) == 1
    assert idlest(occupancy, 0, np.array([True, False])) == 0


def test_a_chooser_that_wants_none_is_told_that_there_is_no_room() -> None:
    with pytest.raises(PlacementError, match="placement=picky: no room for unit 1 of 1 of g0"):
        seat_in_order(make_problem(topology(), units(1)), FIRST_TOUCH, lambda *_: -1, names=("picky", ""))


def test_a_node_that_refuses_is_not_asked_twice() -> None:
    """Memory on the machine suffices, but not on the one node that may hold it: the next node is tried."""
    asked: list[int] = []

    def first(occupancy: Occupancy, c: int, allowed: np.ndarray) -> int:
        asked.append(int(allowed.argmax()))
        return asked[-1]

    where = Topology("t", (MachineCohort(machine(16 * GIB, 16 * GIB), 2),), topology(2).network)
    problem = make_problem(where, [Demand("g", 1, 1.0, 0, 0, "d", 30 * GIB), Demand("h", private_bytes=3 * GIB)])
    made = seat_in_order(problem, FIRST_TOUCH, first)
    assert nodes_of(made) == [(0, 0), (1, 0)]
    assert len(asked) == len(set(asked)) == 2
