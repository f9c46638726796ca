"""The page cache of a file, mapped shared."""

import os
from pathlib import Path

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.mechanisms.file import cached_file
from mshare_bench.real.programs import Backed
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe


def test_a_file_is_all_there_and_has_no_name(tmp_path: Path) -> None:
    backing = cached_file(3 * 4 * KIB, str(tmp_path))
    try:
        assert os.fstat(backing.fd).st_nlink == 0
        assert list(tmp_path.iterdir()) == []
        assert backing.held_bytes() == os.fstat(backing.fd).st_size == 12 * KIB
    finally:
        backing.close()


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        cached_file(4 * KIB, str(tmp_path / "nowhere"))


@pytest.mark.kernel
def test_what_one_writes_is_in_the_file_and_no_copy_of_ones_own() -> None:
    def written(pids: list[int], one: Backed) -> int:
        return sum(os.pread(one.instances[0].fd, 1, at)[0] != 1 for at in range(0, 4 * MIB, 4 * KIB))

    point = make_point("file", 3, 4 * MIB, write_fraction=0.25)
    found, expected = observe(point, written), account(point)
    assert found.seen == 256  # the agents write 1, 2 and 3; the last one stays
    assert found.shown("Anonymous") == found.shown("FilePmdMapped") == [0] * 3
    assert found.tables == [(2 + 1 + 1) * 4 * KIB] * 3
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))
    assert expected.total("data_bytes") == 4 * MIB
