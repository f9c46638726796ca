import random
from typing import Any

import numpy as np
import pytest

from mshare_bench.sim.mmu.lanes import EMPTY, LANES, agree, drop_keys, fetch_row, touch


@pytest.mark.parametrize("ways", [1, 2, 3, 12, 15, 16, 17, 20, 32, 33, 64, 96])
def test_a_row_is_a_list_in_order_of_use(ways: int) -> None:
    width = -(-ways // LANES) * LANES
    lanes = np.full(width + 2 * LANES, EMPTY, np.uint32)
    expected: list[int] = []
    rnd = random.Random(ways)
    for _ in range(3000):
        key = rnd.randrange(ways * 3 // 2 + 1)
        assert bool(touch(lanes, LANES, ways, np.uint32(key))) == (key in expected)
        expected = [key, *(other for other in expected if other != key)][:ways]
        row = lanes[LANES : LANES + width].tolist()
        assert row == expected + [EMPTY] * (width - len(expected))
    assert (lanes[:LANES] == EMPTY).all()  # the rows on both sides are untouched
    assert (lanes[LANES + width :] == EMPTY).all()


def test_a_row_need_not_be_aligned() -> None:
    lanes = np.full(40, EMPTY, np.uint32)
    for key in range(20):
        assert not touch(lanes, 3, 16, np.uint32(key))
    assert lanes[3:19].tolist() == list(range(19, 3, -1))
    assert lanes[19] == EMPTY


def test_dropping_a_tag_closes_the_row_up() -> None:
    lanes = np.full(4 * LANES, EMPTY, np.uint32)
    shift = 8
    for row in range(2):
        for key in range(20):
            touch(lanes, row * 2 * LANES, 20, np.uint32(key % 3 << shift | key))
    drop_keys(lanes, 0, 2, 2 * LANES, shift, 1)
    kept = [key % 3 << shift | key for key in range(19, -1, -1) if key % 3 != 1]
    for row in range(2):
        assert lanes[row * 2 * LANES : (row + 1) * 2 * LANES].tolist() == kept + [EMPTY] * (2 * LANES - len(kept))


def test_fetching_changes_nothing() -> None:
    from numba import njit

    @njit  # type: ignore[untyped-decorator]
    def fetch(lanes: Any) -> None:
        fetch_row(lanes, 16)

    lanes = np.arange(48, dtype=np.uint32)
    fetch(lanes)
    assert lanes.tolist() == list(range(48))


def test_eight_values_agree_above_some_bits() -> None:
    from numba import njit

    @njit  # type: ignore[untyped-decorator]
    def eight(values: Any, start: int, like: int, bits: int) -> Any:
        return agree(values, start, like, bits)

    values = np.array([99, *range(4096, 4096 + 64, 8), 1 << 40], np.int64)
    assert eight(values, 1, 1, 6)
    assert not eight(values, 1, 1, 5)
    assert not eight(values, 0, 1, 12)  # begins one early
    assert not eight(values, 2, 2, 12)  # ends one late
    assert eight(values, 2, 2, 41)
    assert not eight(values, 1, 0, 12)  # agree with each other, not with the one asked for
