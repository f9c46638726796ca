"""One cell on several machines: who runs which part. How they start is in `test_member`, and on real hosts in `test_hosts`."""

import pytest

from mshare_bench.cluster.joint import seated
from mshare_bench.cluster.roster import Member
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.ports import Part
from mshare_bench.domain.topology import Machine, Node
from tests.cluster.engines import cell


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
