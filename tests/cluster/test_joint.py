"""One cell on several machines: who runs which part, and how they start together. Real hosts do so in `test_hosts`."""

import threading
import time

import pytest

from mshare_bench.cluster.joint import seated
from mshare_bench.cluster.member import MachineActor
from mshare_bench.cluster.roster import Member
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.ports import Part
from mshare_bench.domain.topology import Machine, Node
from tests.cluster.engines import Counting, cell, here


def member(name: str, *nodes: int) -> Member:
    machine = Machine("k", tuple(Node(node, (node,), 1) for node in nodes), tuple((10,) * len(nodes) for _ in nodes))
    return Member(name, name, 2, where=Where("k", {}, machine))


def test_a_part_goes_where_its_nodes_are() -> None:
    small, large = member("a", 0), member("b", 0, 1)
    parts = [Part(0, cell(1), frozenset({0, 1})), Part(1, cell(2), frozenset({0}))]
    assert seated(parts, [small, large]) == [(large, parts[0]), (small, parts[1])]


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ((0, 0, 0), "3 machines are needed, the cluster has 2 (a, b)"),
        ((0, 2), "no machine is left that has the NUMA nodes 2 (b)"),
    ],
)
def test_what_is_missing_is_said(nodes: tuple[int, ...], told: str) -> None:
    parts = [Part(number, cell(1), frozenset({node})) for number, node in enumerate(nodes)]
    assert seated(parts, [member("a", 0), member("b", 0)]) == told


class Starting(Counting):
    """A part that waits for its start, and says when it had it."""

    def run_part(self, cell, begin):  # type: ignore[no-untyped-def]
        begin()
        self.began = time.monotonic_ns()
        return next(self.run([cell]))


def part(at_ns: int | None) -> tuple[Starting, dict[str, list[object]], bool]:
    engine = Starting("real")
    actor = MachineActor(engine, here())
    found: dict[str, list[object]] = {}
    thread = threading.Thread(target=lambda: found.update(actor.run_part(cell(1, "real"), "k")["cells"].to_pydict()))
    thread.start()
    armed = actor.armed("k")
    assert not hasattr(engine, "began")
    actor.go("k", at_ns)
    thread.join(10)
    return engine, found, armed


def test_a_part_starts_at_its_instant_and_not_before() -> None:
    at = time.monotonic_ns() + 200_000_000
    engine, found, armed = part(at)
    assert armed and engine.began >= at
    assert found["status"] == ["ok"]


def test_a_part_that_is_called_off_does_not_start() -> None:
    engine, found, _ = part(None)
    assert not hasattr(engine, "began")
    assert found["status"] == ["failed"] and "did not get ready" in str(found["error"])


def test_a_part_that_can_not_start_keeps_nobody_waiting() -> None:
    actor = MachineActor(Counting("real", raises_at=1), here())  # has no `run_part` at all
    row = actor.run_part(cell(1, "real"), "k")["cells"].to_pylist()[0]
    assert row["status"] == "failed"
    assert actor.armed("k")  # who asks late is answered
