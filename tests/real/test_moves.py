"""Data that is moved: here on the one node that there is, with several in the guest."""

import mmap
import os

import pytest

from mshare_bench.domain.units import MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.real import moves as module
from mshare_bench.real import numa
from mshare_bench.real.agent.ops import REGIONS_START, Map, Touch
from mshare_bench.real.launch import ProcessTree
from mshare_bench.real.moves import Moved, move_data
from mshare_bench.real.programs import Backed
from tests.requirements import require

PAGES = 64


class _Region:
    size = MIB


class _Placed:
    address, region = REGIONS_START, _Region()


def _backed() -> list[Backed]:
    return [Backed(_Placed(), None, ())]  # type: ignore[arg-type]


def _moved(agents: int) -> Moved:
    require("kernel", os.geteuid() == 0 and numa.unavailable() is None, "pages of others are moved by root only")
    fd = os.memfd_create("moved")
    os.ftruncate(fd, MIB)
    touch = Touch(REGIONS_START, PAGES, stride=mmap.PAGESIZE, write=True)
    program = {"touch": [Map(REGIONS_START, MIB, fd=fd), touch]}
    try:
        with ProcessTree([program], agents, fds=[fd]) as tree:
            tree.launch()
            tree.run("touch")
            return move_data(int(tree.pids[0]), _backed(), mmap.PAGESIZE, (0, 0))
    finally:
        os.close(fd)


def test_what_is_mapped_is_moved_and_nothing_else() -> None:
    alone = _moved(1)
    assert (alone.pages, alone.moved, alone.page_bytes, alone.refused) == (PAGES, PAGES, mmap.PAGESIZE, 0)
    assert alone.duration_ns > 0


def test_no_right_to_move_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module, "page_nodes", refuse)
    with pytest.raises(CapabilityError, match="placement.horizon: pages can't be moved here: Operation not permitted"):
        move_data(1, _backed(), mmap.PAGESIZE, (0, 1))
