"""Which machine may have which cell."""

from dataclasses import replace

from mshare_bench.cluster.roster import Member
from mshare_bench.cluster.stamp import Where
from mshare_bench.cluster.waiting import Batch, Waiting
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from tests.cluster.engines import cell

GIB = 1 << 30


def member(name: str, kind: str = "k", memory: int = 0) -> Member:
    topology = Machine(kind, (Node(0, (0,), memory),), ((10,),)) if memory else None
    return Member(name, name, 2, where=Where(kind, {}, topology))


def waiting(*cells: Cell, kinds: dict[str, str] | None = None, needs: int = 0) -> Waiting:
    return Waiting((Batch(one.engine, (one,)) for one in cells), lambda _cell: needs, kinds or {})


def taken(queue: Waiting, by: Member, members: list[Member]) -> int | None:
    batch = queue.take_real(by, members)
    return batch.cells[0].point.workload.processes if batch else None


def test_like_machines_take_cells_in_their_order() -> None:
    a, b = member("a"), member("b")
    queue = waiting(cell(1, "real"), cell(2, "real"), cell(3, "real"))
    assert [taken(queue, one, [a, b]) for one in (a, b, a, b)] == [1, 2, 3, None]


def test_what_is_compared_stays_on_one_kind_of_machine_as_long_as_there_is_one() -> None:
    a, b = member("a", "k1"), member("b", "k2")
    queue = waiting(cell(1, "real"), cell(1, "real"), cell(2, "real"), cell(1, "real"))
    assert taken(queue, a, [a, b]) == 1
    assert taken(queue, b, [a, b]) == 2  # not the second of 1: the first chose k1
    assert taken(queue, b, [a, b]) is None
    assert taken(queue, a, [a, b]) == 1
    assert taken(queue, b, [b]) == 1  # k1 has gone


def test_earlier_results_choose_the_kind() -> None:
    a, b = member("a", "k1"), member("b", "k2")
    queue = waiting(cell(1, "real"), kinds={cell(1, "real").point.baseline_digest: "k2"})
    assert taken(queue, a, [a, b]) is None
    assert taken(queue, b, [a, b]) == 1


def test_a_cell_goes_where_it_fits_and_to_the_largest_where_it_fits_nowhere() -> None:
    small, large = member("a", "k", GIB), member("b", "k", 4 * GIB)
    for needs in (2 * GIB, 8 * GIB):
        queue = waiting(cell(1, "real"), needs=needs)
        assert taken(queue, small, [small, large]) is None
        assert taken(queue, large, [small, large]) == 1
    assert taken(waiting(cell(1, "real"), needs=2 * GIB), small, [small]) == 1


def test_what_comes_back_is_next() -> None:
    queue = waiting(cell(1), cell(2), cell(3, "real"))
    first = queue.take_simulated()
    queue.put_back([first])
    assert queue.take_simulated() is first
    assert [one.engine for one in queue.all()] == ["real", "sim"]
    assert not queue


def test_halves() -> None:
    batch = Batch("sim", (cell(1), cell(2), cell(3)))
    assert [(len(one.cells), one.attempt) for one in batch.halves()] == [(1, 2), (2, 2)]
    assert [(len(one.cells), one.attempt) for one in batch.halves()[0].halves()] == [(1, 3)]


def test_cells_of_several_machines_are_apart_where_they_are_run_on_several() -> None:
    network = Network(1e9, 1)
    two = Topology("two", (MachineCohort(Machine("k", (Node(0, (0,), GIB),), ((10,),)), 2),), network)
    one = cell(1, "real")
    both = replace(one, point=replace(one.point, machines=two))
    queue = Waiting([Batch("real", (both,)), Batch("real", (one,))], lambda _cell: 0, {}, several=True)
    assert queue.joint
    assert queue.take_joint().cells == (both,)
    assert not queue.joint and queue
    alone = Waiting([Batch("real", (both,))], lambda _cell: 0, {})
    a = member("a")
    assert not alone.joint and taken(alone, a, [a]) == 1
