"""System V segments: a fault for every page, and nothing left of them."""

from pathlib import Path
from typing import Any

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.mechanisms.sysv import Segment
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe

_DEST = 0o1000  # "marked for destruction", linux/shm.h


def segments() -> dict[int, dict[str, int]]:
    """Rows of /proc/sysvipc/shm by number; the permissions there are octal."""
    names, *rows = (line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines())
    found: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    return {int(one["shmid"]): {**{k: int(v) for k, v in one.items()}, "perms": int(one["perms"], 8)} for one in found}


def test_a_segment_is_marked_for_removal_while_in_use_and_gone_afterwards() -> None:
    segment = Segment(MIB)
    try:
        row = segments()[segment.shmid]
        assert (row["size"], row["nattch"]) == (MIB, 1)
        assert row["perms"] & _DEST  # whatever kills this process, the kernel removes it
        assert segment.held_bytes() == 0
    finally:
        number = segment.shmid
        segment.close()
        segment.close()
    assert number not in segments()
    assert segment.held_bytes() is None


def test_a_segment_that_is_too_large_is_an_error_and_leaves_none() -> None:
    before = segments().keys()
    with pytest.raises(OSError, match=f"shmget of {1 << 62} bytes"):
        Segment(1 << 62)
    assert segments().keys() == before


@pytest.mark.kernel
def test_a_read_fault_maps_one_page_where_a_memfd_maps_sixteen() -> None:
    point = make_point("sysv", 3, 4 * MIB)
    found, expected = observe(point, lambda pids, one: (segments(), one.instances[0].held_bytes())), account(point)
    seen, held = found.seen
    assert found.faults == [4 * MIB // (4 * KIB)] * 3
    assert found.tables == [(2 + 1 + 1) * 4 * KIB] * 3
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))
    assert account(make_point("shmem", 3, 4 * MIB)).total("minor_faults") * 16 == sum(found.faults)
    assert held == 4 * MIB == expected.total("data_bytes")
    ours = [number for number, row in seen.items() if row["size"] == 4 * MIB and row["nattch"] == 4]
    assert ours and not set(ours) & segments().keys()
