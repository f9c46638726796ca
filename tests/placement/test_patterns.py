"""The ways in which a machine's nodes can hold one thing."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.placement.demand import Demand
from mshare_bench.placement.patterns import data_patterns, table_patterns
from mshare_bench.placement.problem import make_problem
from tests.placement.by_hand import uneven
from tests.placement.instances import random_topology


@given(seed=st.integers(0, 10_000), nodes=st.sampled_from([1, 2, 3, 4]))
def test_what_a_pattern_holds_is_on_nodes_that_have_memory(seed: int, nodes: int) -> None:
    where = random_topology(random.Random(seed), nodes)
    memory = np.array([node.memory for node in where.machine(0).nodes], float)
    kind = make_problem(where, [Demand("g", cpus=0.1)]).kinds[0]
    for pattern in table_patterns(kind):
        assert not pattern.share[memory == 0].any()
        assert pattern.share.sum() == pytest.approx(pattern.replicas)
        if pattern.name == "weighted":  # all are full at the same moment
            full = memory[memory > 0] / pattern.share[memory > 0]
            assert full == pytest.approx(np.full(len(full), memory.sum()))
    assert len({pattern.name for pattern in table_patterns(kind)}) == len(table_patterns(kind))


@given(seed=st.integers(0, 10_000), nodes=st.sampled_from([2, 3, 4]))
def test_replicas_are_read_as_fast_as_any_single_node_and_spread_data_as_the_mean(seed: int, nodes: int) -> None:
    kind = make_problem(random_topology(random.Random(seed), nodes), [Demand("g", cpus=0.1)]).kinds[0]
    patterns = {pattern.name: pattern for pattern in table_patterns(kind)}
    single = np.array([one.penalty for name, one in patterns.items() if name.startswith("node")])
    if "interleave" in patterns:
        assert patterns["interleave"].penalty == pytest.approx(single.mean(axis=0))
    if "replicate" in patterns:
        copies = [patterns[f"node {kind.machine.nodes[n].id}"].penalty for n in kind.replicas]
        assert patterns["replicate"].penalty == pytest.approx(np.min(copies, axis=0))
        assert patterns["replicate"].penalty[list(kind.replicas)].max() <= single.max()


def test_one_node_is_one_pattern() -> None:
    kind = make_problem(random_topology(random.Random(0), 1), [Demand("g", cpus=0.1)]).kinds[0]
    assert [one.name for one in table_patterns(kind)] == ["node 0"] == [one.name for one in data_patterns(kind)]


def test_patterns_are_every_way_to_hold_a_thing() -> None:
    kind = make_problem(uneven(), [Demand("g")]).kinds[0]
    patterns = {one.name: one for one in table_patterns(kind)}
    assert list(patterns) == ["node 0", "node 3", "node 7", "interleave", "weighted", "replicate"]
    assert [one.name for one in data_patterns(kind)] == list(patterns)[:-1]
    assert patterns["weighted"].share.tolist() == [0.5, 0.25, 0.25]
    assert patterns["interleave"].penalty[0] == pytest.approx(60)
    assert patterns["replicate"].penalty[:2].tolist() == [0.0, 10.0]
    assert [one.replicas for one in patterns.values()] == [1, 1, 1, 1, 1, 2]
    assert all(np.isclose(one.share.sum(), one.replicas) for one in patterns.values())
