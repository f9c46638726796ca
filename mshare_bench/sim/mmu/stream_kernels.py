"""The access streams, compiled: `generate` fills a small buffer that the model then consumes.

The buffer holds 256 addresses and stays in the host's first-level cache: streams are generated as they are used, never
stored. `reference_streams` says in plain Python what each one is.
"""

from typing import Any

import numpy as np
from numba import njit

from mshare_bench.sim.mmu.streams import ZIPF_BUCKETS

__all__ = ["generate"]

# Mixing signed and unsigned 64-bit integers makes numba go to floating point, so everything here is np.uint64.
_U = np.uint64
_STEP = _U(0x9E3779B97F4A7C15)
_MIX_1 = _U(0xBF58476D1CE4E5B9)
_MIX_2 = _U(0x94D049BB133111EB)
_CHASE_FACTOR = _U(6364136223846793005)
_CHASE_TERM = _U(1442695040888963407)
_LOW = _U(0xFFFFFFFF)
_0, _1, _2, _6, _12, _27, _30, _31, _32 = (_U(number) for number in (0, 1, 2, 6, 12, 27, 30, 31, 32))
_63 = _U(63)
_BUCKET_MASK = _U(ZIPF_BUCKETS - 1)


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _mix(word: Any) -> Any:
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _pick(word: Any, choices: Any) -> Any:
    return ((word >> _32) * choices) >> _32


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _pick_low(word: Any, choices: Any) -> Any:
    return ((word & _LOW) * choices) >> _32


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _zipf_rank(word: Any, second: Any, table: Any) -> Any:
    bucket = word & _BUCKET_MASK
    other = _U(table[bucket, 3])  # read in any case: choosing a number costs less than a branch that can't be predicted
    bucket = bucket if (word >> _32) < _U(table[bucket, 2]) else other
    return _U(table[bucket, 0]) + _pick(second, _U(table[bucket, 1]))


@njit(nogil=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _remainder(value: Any, divisor: Any, inverse: Any) -> Any:
    """``value % divisor`` without the division: the quotient, below 2**31, is right to one by floating point."""
    quotient = np.int64(np.float64(np.int64(value)) * inverse)
    rest = np.int64(value) - quotient * np.int64(divisor)
    rest = rest + np.int64(divisor) if rest < 0 else rest
    return _U(rest - np.int64(divisor) if rest >= np.int64(divisor) else rest)


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def generate(
    kind: int, numbers: Any, table: Any, trace: Any, seed: Any, state: Any, position: int, count: int, out: Any
) -> Any:
    """Write the offsets of accesses `position` to `position + count` to `out`; return the new state.

    Parameters
    ----------
    numbers, table : uint64 array of 8; uint32 array of 4 columns (`first`, `count`, `cut`, `other`)
    trace : int64 array, empty but for a trace
    seed, state : uint64; only a pointer chase has a state
    out : int64 array, at least `count` long
    """
    n0, n1, n2, n3, n4 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    inverse = 1.0 / np.float64(n0)
    base = _U(position)
    counter = seed + (base + _1) * _STEP  # of the random word of the first access
    if kind == 0:  # sequential, stride: step, region, start
        address = (n2 + base * n0) % n1
        if address + _U(count) * n0 <= n1:  # no turn within the block: a loop that vectorizes
            for k in range(count):
                out[k] = np.int64(address + _U(k) * n0)
            return state
        for k in range(count):
            out[k] = np.int64(address)
            address += n0
            if address >= n1:
                address -= n1
    elif kind == 1:  # uniform: pages
        for k in range(count):
            word = _mix(counter + _U(k) * _STEP)
            out[k] = np.int64((_pick(word, n0) << _12) + ((word & _63) << _6))
    elif kind == 2:  # zipf: items, item bytes, lines of an item, factor
        for k in range(count):
            word = _mix(counter + _U(k) * _STEP)
            second = _mix(word)
            item = _remainder(_zipf_rank(word, second, table) * n3, n0, inverse)
            out[k] = np.int64(item * n1 + (_pick_low(second, n2) << _6))
    elif kind == 3:  # pointer chase: nodes, node bytes, mask, half of its bits
        for k in range(count):
            stirred = n0
            while stirred >= n0:
                state = (state * _CHASE_FACTOR + _CHASE_TERM) & n2
                stirred = ((state ^ (state >> n3)) * _STEP) & n2
                stirred ^= stirred >> n3
            out[k] = np.int64(stirred * n1)
    elif kind == 4:  # hot and cold: hot pages, cold pages, cut
        for k in range(count):
            word = _mix(counter + _U(k) * _STEP)
            page = _pick(word, n0) if (word & _LOW) < n2 else n0 + _pick(word, n1)
            out[k] = np.int64((page << _12) + ((_mix(word) & _63) << _6))
    elif kind == 5:  # GUPS: pages
        for k in range(count):
            word = _mix(seed + (((base + _U(k)) >> _1) + _1) * _STEP)
            out[k] = np.int64((_pick(word, n0) << _12) + ((word & _63) << _6))
    elif kind == 6:  # B-tree: depth, node bytes, lines of a node
        probe, level = base // n0, base % n0
        for k in range(count):
            word = _mix(seed + (probe + _1) * _STEP)
            line = _pick_low(_mix(word + level), n2)
            out[k] = np.int64((_U(table[level, 0]) + _pick(word, _U(table[level, 1]))) * n1 + (line << _6))
            level += _1
            if level == n0:
                level = _0
                probe += _1
    elif kind == 7:  # hash join: tuple bytes, bytes of the outer relation, pages of the table
        for k in range(count):
            probe = (base + _U(k)) >> _1
            if (base + _U(k)) & _1:
                word = _mix(seed + (probe + _1) * _STEP)
                out[k] = np.int64(n1 + (_pick(word, n2) << _12) + ((word & _63) << _6))
            else:
                out[k] = np.int64((probe * n0) % n1)
    elif kind == 8:  # key-value: items, value bytes, lines of a value, factor, lines of the index
        get, step = base // (_1 + n2), base % (_1 + n2)
        for k in range(count):
            word = _mix(seed + (get + _1) * _STEP)
            item = _remainder(_zipf_rank(word, _mix(word), table) * n3, n0, inverse)
            if step == _0:
                out[k] = np.int64(_pick(_mix(item), n4) << _6)
            else:
                out[k] = np.int64((n4 << _6) + item * n1 + ((step - _1) << _6))
            step += _1
            if step > n2:
                step = _0
                get += _1
    else:  # trace: length
        index = base % n0
        for k in range(count):
            out[k] = trace[index]
            index += _1
            if index == n0:
                index = _0
    return state
