from itertools import islice
from typing import Any

import numpy as np
import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu import (
    BTreeProbe,
    Gups,
    HashJoin,
    HotCold,
    KeyValue,
    PointerChase,
    Sequential,
    Stream,
    Stride,
    Trace,
    Uniform,
    Zipf,
    stream_from_mapping,
)
from mshare_bench.sim.mmu.reference_streams import addresses, seed_of
from mshare_bench.sim.mmu.streams import ZIPF_BUCKETS, _zipf_table, number_stream
from tests.sim.mmu.configurations import GIB, KIB, MIB

EVERY: list[Stream] = [
    Sequential(),
    Stride(),
    Uniform(),
    Zipf(),
    PointerChase(),
    HotCold(hot=MIB),
    Gups(),
    BTreeProbe(),
    HashJoin(),
    KeyValue(),
    Trace(np.arange(100)),
]


def first(stream: Stream, count: int, region: int = 64 * MIB, seed: int = 3) -> list[int]:
    trace = stream if isinstance(stream, Trace) else None
    return list(islice(addresses(number_stream(stream, region), seed_of(seed, 0), trace), count))


@pytest.mark.parametrize("stream", EVERY, ids=lambda stream: type(stream).__name__)
@pytest.mark.parametrize("region", [2 * MIB, 12 * MIB, 3 * GIB])
def test_addresses_stay_in_the_region(stream: Stream, region: int) -> None:
    drawn = first(stream, 3000, region)
    assert min(drawn) >= 0
    assert max(drawn) < region


@pytest.mark.parametrize("stream", [Uniform(), Zipf(), PointerChase(), HotCold(), BTreeProbe(), HashJoin(), KeyValue()])
def test_another_seed_gives_other_addresses(stream: Stream) -> None:
    assert first(stream, 50, seed=1) != first(stream, 50, seed=2)


def test_sequential_goes_round() -> None:
    assert first(Sequential(step=MIB), 5, region=4 * MIB) == [0, MIB, 2 * MIB, 3 * MIB, 0]
    numbers = number_stream(Stride(stagger=3 * 4096), 4 * MIB, process=2)
    assert list(islice(addresses(numbers, 0), 2)) == [6 * 4096, 7 * 4096]


def test_pointer_chase_visits_every_node_once_per_lap() -> None:
    for node in (64, 192, 4096):
        nodes = 2 * MIB // node
        lap = first(PointerChase(node=node), nodes, region=2 * MIB)
        assert sorted(lap) == list(range(0, nodes * node, node))
        assert lap != sorted(lap)


def test_gups_reads_then_writes() -> None:
    drawn = first(Gups(), 100)
    assert drawn[::2] == drawn[1::2]
    assert len(set(drawn)) > 45


def test_hot_share() -> None:
    drawn = first(HotCold(hot=MIB, fraction=0.75), 20_000)
    assert np.mean(np.array(drawn) < MIB) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("skew", [0.0, 0.6, 0.99, 1.0, 1.5])
def test_zipf_frequencies(skew: float) -> None:
    """Ranks by the exact distribution: the first ones one by one, the others by decade."""
    items, count = 5000, 60_000
    drawn = np.array(first(Zipf(skew=skew, item=4096, scattered=False), count, region=items * 4096)) // 4096
    weight = np.arange(1.0, items + 1) ** -skew
    share = weight / weight.sum()
    for low, high in ((0, 1), (1, 2), (2, 10), (10, 64), (64, 100), (100, 1000), (1000, items)):
        expected = share[low:high].sum()
        sigma = (expected * (1 - expected) / count) ** 0.5
        assert np.mean((drawn >= low) & (drawn < high)) == pytest.approx(expected, abs=5 * sigma)


@pytest.mark.parametrize("items", [1, 2, 63, 64, 65, 66, 100, 5000, 1 << 20, (1 << 31) - 1])
def test_zipf_table_gives_every_bucket_its_mass(items: int) -> None:
    for skew in (0.0, 0.3, 0.99, 1.0, 1.01, 2.0, 5.0, 10.0):
        first, count, cut, other = _zipf_table(items, skew)
        assert len(first) == ZIPF_BUCKETS
        assert sum(count) == items
        mass = np.zeros(ZIPF_BUCKETS)
        for entry in range(ZIPF_BUCKETS):
            kept = 1.0 if other[entry] == entry else cut[entry] / ((1 << 32) - 1)
            mass[entry] += kept / ZIPF_BUCKETS
            mass[other[entry]] += (1 - kept) / ZIPF_BUCKETS
        low, high = np.array(first) + 0.5, np.array(first) + np.array(count) + 0.5
        power = 1 - skew
        weight = np.log(high / low) if power == 0 else (high**power - low**power) / power
        weight = np.where(np.array(count) == 1, (np.array(first) + 1.0) ** -skew, weight)
        np.testing.assert_allclose(mass, weight / weight.sum(), rtol=1e-6, atol=1e-11)
        assert all(mass[bucket] == 0 for bucket in range(ZIPF_BUCKETS) if not count[bucket])


def test_scattering_is_one_to_one() -> None:
    region = 3000 * 4096
    plain = first(Zipf(skew=0.5, scattered=False), 5000, region)
    spread = first(Zipf(skew=0.5, scattered=True), 5000, region)
    pairs = {(a // 4096, b // 4096) for a, b in zip(plain, spread, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_btree_goes_from_the_root_to_a_leaf() -> None:
    stream = BTreeProbe(node=4096, fanout=16)
    numbers = number_stream(stream, 64 * MIB)
    depth = numbers.numbers[0]
    assert numbers.count[0] == 1
    assert sum(numbers.count) * 4096 <= 64 * MIB
    assert sum(numbers.count) * 4096 > 0.99 * 64 * MIB  # the largest that fits
    drawn = np.array(first(stream, depth * 500)).reshape(-1, depth) // 4096
    for level in range(depth):
        nodes = drawn[:, level] - numbers.first[level]
        assert nodes.min() >= 0
        assert nodes.max() < numbers.count[level]
        if level:  # children of a node are neighbours: the same order at every level
            order = np.argsort(nodes, kind="stable")
            assert (np.diff(drawn[order, level - 1]) >= 0).all()


def test_hash_join_scans_and_probes() -> None:
    drawn = first(HashJoin(table=0.25, tuple=16), 200, region=64 * MIB)
    assert drawn[::2] == list(range(0, 1600, 16))
    assert min(drawn[1::2]) >= 48 * MIB


def test_key_value_reads_the_index_then_the_value() -> None:
    drawn = np.array(first(KeyValue(value=256), 500)).reshape(-1, 5)
    index_bytes = number_stream(KeyValue(value=256), 64 * MIB).numbers[4] * 64
    assert (drawn[:, 0] < index_bytes).all()
    assert (np.diff(drawn[:, 1:], axis=1) == 64).all()
    assert ((drawn[:, 1] - index_bytes) % 256 == 0).all()
    same_key = {value: index for index, value in drawn[:, :2]}
    assert all(same_key[value] == index for index, value in drawn[:, :2])  # a key's index line is always the same


def test_trace_replays() -> None:
    assert first(Trace(np.array([5, 6, 7])), 7) == [5, 6, 7, 5, 6, 7, 5]


def test_streams_by_name() -> None:
    assert stream_from_mapping({"kind": "zipf", "skew": 1.1}) == Zipf(skew=1.1)
    assert stream_from_mapping({"kind": "gups"}) == Gups()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"kind": "zip"}, "mmu.stream.kind=zip: one of sequential, stride, uniform, zipf"),
        ({}, "mmu.stream.kind=None: one of"),
        ({"kind": "zipf", "scew": 1}, "mmu.stream.scew: zipf takes skew, item, scattered"),
        ({"kind": "uniform", "step": 1}, "mmu.stream.step: uniform takes no parameters"),
        ({"kind": "sequential", "step": 0}, f"mmu.stream.step=0: a whole number from 1 to {64 * MIB} is needed"),
        ({"kind": "zipf", "skew": -1}, "mmu.stream.skew=-1: a number from 0 to 10 is needed"),
        (
            {"kind": "zipf", "item": 100},
            f"mmu.stream.item=100: a whole number from 64 to {64 * MIB} and a multiple of 64",
        ),
        ({"kind": "pointer_chase", "node": "64"}, "mmu.stream.node=64: a whole number"),
        ({"kind": "hot_cold", "hot": 64 * MIB}, f"mmu.stream.hot={64 * MIB}: a whole number from 4096"),
        ({"kind": "hot_cold", "fraction": 1.5}, "mmu.stream.fraction=1.5: a number from 0 to 1 is needed"),
        ({"kind": "btree_probe", "fanout": 1}, "mmu.stream.fanout=1: a whole number from 2"),
        ({"kind": "hash_join", "table": 1.0}, "mmu.stream.table=1.0: leaves no page"),
        ({"kind": "key_value", "value": 64 * MIB}, f"mmu.stream.value={64 * MIB}: no key fits"),
    ],
)
def test_bad_stream_is_one_clear_line(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        number_stream(stream_from_mapping(mapping), 64 * MIB)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_too_many_items_and_traces_outside_are_refused() -> None:
    with pytest.raises(ConfigError, match="4294967296 items; the generators count up to 2147483648"):
        number_stream(Zipf(item=64), 256 * GIB)
    with pytest.raises(ConfigError, match="trace: offset 8192 is outside the region of 8192 bytes"):
        number_stream(Trace(np.array([0, 8192])), 8 * KIB)
    with pytest.raises(ConfigError, match="trace: no addresses"):
        number_stream(Trace(np.array([], np.int64)), 8 * KIB)
