"""Access streams: what addresses a process touches, as values and as the numbers that generate them.

Every stream but `PointerChase` is a function of the seed and the index of the access alone, in whole numbers, so a
generator needs no storage and two implementations can agree to the last bit. Addresses are offsets into the region;
random ones are drawn by cache line, the grain that TLBs and caches see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from math import gcd
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.mmu import LINE_BYTES
from mshare_bench.errors import ConfigError

__all__ = [
    "BTreeProbe",
    "Gups",
    "HashJoin",
    "HotCold",
    "KeyValue",
    "Kind",
    "PointerChase",
    "Sequential",
    "Stream",
    "StreamNumbers",
    "Stride",
    "Trace",
    "Uniform",
    "Zipf",
    "number_stream",
    "stream_from_mapping",
]

ZIPF_BUCKETS = 512
_EXACT_RANKS = 64  # ranks with a bucket of their own
_PER_OCTAVE = 16  # buckets per doubling of the rank beyond them


class Kind(IntEnum):
    """Number of a stream's generator; `Stride` runs on that of `Sequential`."""

    SEQUENTIAL = 0
    UNIFORM = 1
    ZIPF = 2
    POINTER_CHASE = 3
    HOT_COLD = 4
    GUPS = 5
    BTREE = 6
    HASH_JOIN = 7
    KEY_VALUE = 8
    TRACE = 9


@dataclass(frozen=True, slots=True)
class Sequential:
    """Every `step` bytes from the start of the region to its end, over and over; process p starts `stagger`*p in."""

    step: int = 8
    stagger: int = 0


@dataclass(frozen=True, slots=True)
class Stride:
    """As `Sequential`, one page per step unless told otherwise."""

    step: int = 4096
    stagger: int = 0


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any line of the region, all alike."""


@dataclass(frozen=True, slots=True)
class Zipf:
    """Items of `item` bytes, the one of rank r with weight r**-skew; `scattered` spreads the ranks over the region.

    The 64 most frequent ranks are exact; beyond, ranks are drawn from buckets 4.4 % wide: the mass of a bucket is
    exact, within a bucket ranks are alike.
    """

    skew: float = 0.99
    item: int = 4096
    scattered: bool = True


@dataclass(frozen=True, slots=True)
class PointerChase:
    """Nodes of `node` bytes in one pseudo-random cycle through all of them: each is visited once per lap."""

    node: int = 64


@dataclass(frozen=True, slots=True)
class HotCold:
    """`fraction` of the accesses go uniformly to the first `hot` bytes, the others to the rest of the region."""

    hot: int = 4 << 20
    fraction: float = 0.9


@dataclass(frozen=True, slots=True)
class Gups:
    """Updates of random words: each word is read, then written (two accesses to one address)."""


@dataclass(frozen=True, slots=True)
class BTreeProbe:
    """Random look-ups in a B-tree of `node`-byte nodes and `fanout` children that fills the region: root to leaf."""

    node: int = 4096
    fanout: int = 256


@dataclass(frozen=True, slots=True)
class HashJoin:
    """Probe phase of a hash join: the next `tuple` of the outer relation, then a random line of the hash table.

    The table takes `table` (a fraction) of the region, the relation that is scanned the rest.
    """

    table: float = 0.5
    tuple: int = 16


@dataclass(frozen=True, slots=True)
class KeyValue:
    """GETs of zipf-distributed keys: one line of the index (16 bytes per key), then the value's lines in order."""

    skew: float = 0.99
    value: int = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Recorded accesses: `addresses` are int64 offsets into the region, replayed from the start when they run out."""

    addresses: NDArray[np.int64]


Stream: TypeAlias = (
    Sequential | Stride | Uniform | Zipf | PointerChase | HotCold | Gups | BTreeProbe | HashJoin | KeyValue | Trace
)

_BY_NAME: dict[str, Any] = {
    "sequential": Sequential,
    "stride": Stride,
    "uniform": Uniform,
    "zipf": Zipf,
    "pointer_chase": PointerChase,
    "hot_cold": HotCold,
    "gups": Gups,
    "btree_probe": BTreeProbe,
    "hash_join": HashJoin,
    "key_value": KeyValue,
}


@dataclass(frozen=True, slots=True)
class StreamNumbers:
    """A stream over a region as generators read it: a kind, up to eight numbers, and a table.

    The table's columns: for zipf `first` rank and `count` of ranks of a bucket, and the alias method's `cut` (of 2**32 - 1)
    and `other` bucket; for a B-tree `first` node and `count` of nodes of a level, root first.
    """

    kind: Kind
    numbers: tuple[int, ...]
    first: tuple[int, ...] = ()
    count: tuple[int, ...] = ()
    cut: tuple[int, ...] = ()
    other: tuple[int, ...] = ()


def stream_from_mapping(mapping: Mapping[str, Any]) -> Stream:
    """A stream from ``{"kind": name, parameter: value, ...}``; ConfigError names an unknown kind or parameter."""
    kind = mapping.get("kind")
    known = _BY_NAME.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise ConfigError(f"mmu.stream.kind={kind}: one of {', '.join(_BY_NAME)}")
    allowed = [field.name for field in fields(known)]
    for name in mapping:
        if name != "kind" and name not in allowed:
            raise ConfigError(f"mmu.stream.{name}: {kind} takes {', '.join(allowed) or 'no parameters'}")
    stream: Stream = known(**{name: value for name, value in mapping.items() if name != "kind"})
    return stream


def _whole(name: str, value: Any, lowest: int, highest: int, multiple: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest or value % multiple:
        grain = f" and a multiple of {multiple}" if multiple > 1 else ""
        raise ConfigError(f"mmu.stream.{name}={value}: a whole number from {lowest} to {highest}{grain} is needed")
    return value


def _fraction(name: str, value: Any, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise ConfigError(f"mmu.stream.{name}={value}: a number from 0 to {highest:g} is needed")
    return float(value)


def _limit_items(items: int, what: str) -> int:
    if items > 1 << 31:
        raise ConfigError(f"stream: {items} {what}; the generators count up to {1 << 31}")
    return items


def _scatter_factor(items: int) -> int:
    """A multiplier without a common factor with `items`, near the golden section of it: rank -> item is one to one."""
    factor = max(1, int(items * 0.6180339887498949)) | 1
    while gcd(factor, items) != 1:
        factor += 2
    return factor


def _zipf_table(items: int, skew: float) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Buckets of ranks and Vose's alias table over them, padded to 512 entries."""
    edges = list(range(min(items, _EXACT_RANKS) + 1))
    while edges[-1] < items:
        edges.append(min(items, max(edges[-1] + 1, round(edges[-1] * 2 ** (1 / _PER_OCTAVE)))))
    first = np.array(edges[:-1])
    count = np.diff(edges)
    # Within a bucket the sum of r**-skew is taken as the integral from first+1/2 to last+1/2, exact where count is 1.
    low, high = first + 0.5, first + count + 0.5
    power = 1 - skew
    integral = np.log(high / low) if power == 0 else (high**power - low**power) / power
    weight = np.where(count == 1, (first + 1.0) ** -skew, integral)
    share = np.zeros(ZIPF_BUCKETS)
    share[: len(weight)] = weight / weight.sum() * ZIPF_BUCKETS
    cut = np.full(ZIPF_BUCKETS, (1 << 32) - 1, dtype=np.int64)  # `other` is the bucket itself: never matters
    other = np.arange(ZIPF_BUCKETS)
    small = [index for index in range(ZIPF_BUCKETS) if share[index] < 1]
    large = [index for index in range(ZIPF_BUCKETS) if share[index] >= 1]
    while small and large:
        poor, rich = small.pop(), large.pop()
        cut[poor], other[poor] = int(share[poor] * ((1 << 32) - 1)), rich
        share[rich] -= 1 - share[poor]
        (small if share[rich] < 1 else large).append(rich)
    # What rounding leaves on either list keeps its whole entry. An entry without ranks is never among them: while one
    # waits, the entries with too much have at least a whole one to give.
    pad = (0,) * (ZIPF_BUCKETS - len(first))
    return (*first.tolist(), *pad), (*count.tolist(), *pad), tuple(cut.tolist()), tuple(other.tolist())


def _btree_levels(region: int, node: int, fanout: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First node and number of nodes per level, root first, of the largest tree that fits."""

    def levels(leaves: int) -> list[int]:
        counts = [leaves]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // fanout))
        return counts[::-1]

    leaves = region // node
    while sum(levels(leaves)) * node > region:
        leaves -= max(1, (sum(levels(leaves)) - region // node) // 2)  # one leaf less is at most two nodes less
    counts = levels(leaves)
    first = [sum(counts[:level]) for level in range(len(counts))]
    return tuple(first), tuple(counts)


def number_stream(stream: Stream, region: int, process: int = 0) -> StreamNumbers:
    """The numbers that generate `stream` over `region` bytes (a multiple of 4 KiB) for one process.

    Raises
    ------
    ConfigError
        A parameter out of range, or a trace with an address outside the region.
    """
    pages = region // 4096
    match stream:
        case Sequential(step, stagger) | Stride(step, stagger):
            _whole("step", step, 1, region)
            _whole("stagger", stagger, 0, region)
            return StreamNumbers(Kind.SEQUENTIAL, (step, region, stagger * process % region))
        case Uniform():
            return StreamNumbers(Kind.UNIFORM, (pages,))
        case Gups():
            return StreamNumbers(Kind.GUPS, (pages,))
        case Zipf(skew, item, scattered):
            items = _limit_items(region // _whole("item", item, LINE_BYTES, region, LINE_BYTES), "items")
            factor = _scatter_factor(items) if scattered else 1
            table = _zipf_table(items, _fraction("skew", skew, 10))
            return StreamNumbers(Kind.ZIPF, (items, item, item // LINE_BYTES, factor), *table)
        case PointerChase(node):
            nodes = region // _whole("node", node, LINE_BYTES, region, LINE_BYTES)
            bits = max(1, (nodes - 1).bit_length())
            return StreamNumbers(Kind.POINTER_CHASE, (nodes, node, (1 << bits) - 1, (bits + 1) // 2))
        case HotCold(hot, fraction):
            hot_pages = _whole("hot", hot, 4096, region - 4096, 4096) // 4096
            cut = int(_fraction("fraction", fraction, 1) * (1 << 32))
            return StreamNumbers(Kind.HOT_COLD, (hot_pages, pages - hot_pages, cut))
        case BTreeProbe(node, fanout):
            _limit_items(region // _whole("node", node, LINE_BYTES, region, LINE_BYTES), "nodes")
            first, count = _btree_levels(region, node, _whole("fanout", fanout, 2, 1 << 20))
            return StreamNumbers(Kind.BTREE, (len(first), node, node // LINE_BYTES), first, count)
        case HashJoin(table, tuple_bytes):
            outer = int(pages * (1 - _fraction("table", table, 1))) * 4096
            if not 0 < outer < region:
                raise ConfigError(f"mmu.stream.table={table}: leaves no page for the table or for the relation scanned")
            return StreamNumbers(
                Kind.HASH_JOIN, (_whole("tuple", tuple_bytes, 1, outer), outer, (region - outer) // 4096)
            )
        case KeyValue(skew, value):
            _whole("value", value, LINE_BYTES, region, LINE_BYTES)
            items = _limit_items(region // (value + 16), "keys")
            index_lines = max(1, items * 16 // LINE_BYTES)
            items = min(items, (region - index_lines * LINE_BYTES) // value)
            if items < 1:
                raise ConfigError(f"mmu.stream.value={value}: no key fits a region of {region} bytes")
            numbers = (items, value, value // LINE_BYTES, _scatter_factor(items), index_lines)
            return StreamNumbers(Kind.KEY_VALUE, numbers, *_zipf_table(items, _fraction("skew", skew, 10)))
        case Trace(addresses):
            if addresses.size == 0:
                raise ConfigError("trace: no addresses")
            if addresses.min() < 0 or addresses.max() >= region:
                worst = int(addresses[(addresses < 0) | (addresses >= region)][0])
                raise ConfigError(f"trace: offset {worst} is outside the region of {region} bytes")
            return StreamNumbers(Kind.TRACE, (int(addresses.size),))
