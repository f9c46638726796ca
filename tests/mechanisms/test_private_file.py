"""A file mapped privately: the page cache's pages until they are written, then copies of one's own."""

import os

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.real.programs import Backed
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


def content(pids: list[int], one: Backed) -> bytes:
    return os.pread(one.instances[0].fd, one.placed.region.size, 0)


@pytest.mark.kernel
@pytest.mark.parametrize("write_fraction", [0.0, 0.25])
def test_a_written_page_becomes_ones_own_and_the_file_stays_as_it_was(write_fraction: float) -> None:
    point = make_point("private_file", 3, 4 * MIB, write_fraction=write_fraction)
    found, expected = observe(point, content), account(point)
    own = int(4 * MIB * write_fraction)
    assert found.shown("Anonymous") == [own] * 3
    assert found.shown("Rss") == [4 * MIB] * 3
    assert found.shown("FilePmdMapped") == [0] * 3  # what the prediction is conditioned on
    assert found.seen == b"\1" * 4 * MIB
    assert found.tables == [(2 + 1 + 1) * 4 * KIB] * 3
    assert sum(found.tables) == expected.page_table_bytes
    assert sum(found.faults) == expected.total("minor_faults")
    assert expected.total("data_bytes") == 4 * MIB + 3 * own
