"""The access streams in plain Python: what each generator of the fast model must reproduce, address by address."""

from collections.abc import Iterator
from itertools import count as count_from

from mshare_bench.sim.mmu.streams import ZIPF_BUCKETS, Kind, StreamNumbers, Trace

__all__ = ["addresses", "mix", "seed_of"]

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd


def mix(value: int) -> int:
    """The finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014): one 64-bit word from another, one to one."""
    value &= _WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _WORD
    return value ^ value >> 31


def seed_of(seed: int, process: int) -> int:
    """The seed of one process's stream."""
    return mix(mix(seed) + process)


def _random(seed: int, index: int) -> int:
    return mix(seed + (index + 1) * _STEP)


def _pick(word: int, choices: int) -> int:
    """One of `choices` by the upper half of a random word."""
    return (word >> 32) * choices >> 32


def _pick_low(word: int, choices: int) -> int:
    """One of `choices` by the lower half of a random word."""
    return (word & 0xFFFFFFFF) * choices >> 32


def _zipf_item(numbers: StreamNumbers, word: int, items: int, factor: int) -> tuple[int, int]:
    """The item that a random word falls on, and a second random word."""
    bucket = word % ZIPF_BUCKETS
    if word >> 32 >= numbers.cut[bucket]:
        bucket = numbers.other[bucket]
    second = mix(word)
    rank = numbers.first[bucket] + _pick(second, numbers.count[bucket])
    return rank * factor % items, second


def _chase(numbers: StreamNumbers, seed: int) -> Iterator[int]:
    nodes, node, mask, half = numbers.numbers
    state = seed & mask
    while True:
        # A full-period linear congruential generator, its bits stirred one to one; numbers beyond the last node skipped.
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        stirred = (state ^ state >> half) * _STEP & mask
        stirred ^= stirred >> half
        if stirred < nodes:
            yield stirred * node


def addresses(numbers: StreamNumbers, seed: int, trace: Trace | None = None) -> Iterator[int]:
    """Yield the offsets that a process with this seed touches, without end."""
    n = numbers.numbers
    if numbers.kind is Kind.POINTER_CHASE:
        yield from _chase(numbers, seed)
    for index in count_from():
        match numbers.kind:
            case Kind.SEQUENTIAL:
                step, region, start = n
                yield (start + index * step) % region
            case Kind.UNIFORM:
                word = _random(seed, index)
                yield _pick(word, n[0]) * 4096 + word % 64 * 64
            case Kind.GUPS:
                word = _random(seed, index // 2)
                yield _pick(word, n[0]) * 4096 + word % 64 * 64
            case Kind.ZIPF:
                items, item, lines, factor = n
                place, second = _zipf_item(numbers, _random(seed, index), items, factor)
                yield place * item + _pick_low(second, lines) * 64
            case Kind.HOT_COLD:
                hot, cold, cut = n
                word = _random(seed, index)
                page = _pick(word, hot) if word & 0xFFFFFFFF < cut else hot + _pick(word, cold)
                yield page * 4096 + mix(word) % 64 * 64
            case Kind.BTREE:
                depth, node, lines = n
                probe, level = divmod(index, depth)
                word = _random(seed, probe)
                line = _pick_low(mix(word + level), lines)
                yield (numbers.first[level] + _pick(word, numbers.count[level])) * node + line * 64
            case Kind.HASH_JOIN:
                tuple_bytes, outer, table_pages = n
                probe, random_access = divmod(index, 2)
                word = _random(seed, probe)
                bucket = outer + _pick(word, table_pages) * 4096 + word % 64 * 64
                yield bucket if random_access else probe * tuple_bytes % outer
            case Kind.KEY_VALUE:
                items, value, value_lines, factor, index_lines = n
                get, step = divmod(index, 1 + value_lines)
                key, _ = _zipf_item(numbers, _random(seed, get), items, factor)
                yield index_lines * 64 + key * value + (step - 1) * 64 if step else _pick(mix(key), index_lines) * 64
            case Kind.TRACE:
                assert trace is not None
                yield int(trace.addresses[index % n[0]])
