"""The outcome of placement as a value."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.assignment import Assignment, Seat
from mshare_bench.placement.place import place
from tests.placement.by_hand import GIB, topology, units


@given(st.lists(st.integers(0, 50), min_size=1))
def test_machines_that_run_something_are_listed_once_and_in_order(machines: Sequence[int]) -> None:
    seats = tuple(Seat(i, "g", 1, machine, 0, ((0, 1.0),), ((0, 1.0),)) for i, machine in enumerate(machines))
    found = Assignment(seats, (), "p", "t").machines()
    assert set(found) == set(machines)
    assert all(one < other for one, other in pairwise(found))


def test_a_domain_has_a_copy_on_every_machine_that_runs_its_sharers_for_memory_is_not_shared_between_machines() -> None:
    made = place(topology(3), units(5, domain="d", shared_bytes=GIB), "round_robin")
    assert (
        made.machines() == tuple(copy.machine for copy in sorted(made.copies, key=lambda one: one.machine)) == (0, 1, 2)
    )
    assert (made.policy, made.tables) == ("round_robin", "first_touch")
