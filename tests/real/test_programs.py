"""What agents are told to do for a point: above all what must be asked of a window of msharefs, and never of it."""

import mmap
import os

import pytest

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms._msharefs import SharedRegion
from mshare_bench.mechanisms.mshare import Mshare
from mshare_bench.real.agent import ops as o
from mshare_bench.real.programs import Backed, cast
from mshare_bench.sim.accounting import mechanism_of, setting_of
from mshare_bench.sim.points import make_point

WINDOW = 512 * GIB


@pytest.fixture
def region():
    made = SharedRegion(os.memfd_create("window"), WINDOW, os.memfd_create("data"))
    yield made
    made.close()


def casting(point, region):
    (one,) = setting_of(point).mapped
    recipe = mechanism_of(point).recipe(one.placed, point.page)
    return cast(point, [Backed(one.placed, recipe, (region,))], mechanism_of(point).traits)


def test_a_window_is_attached_whole_and_let_go_whole(region):
    point = make_point("mshare", 3, 64 * MIB, write_fraction=0.5)
    found = casting(point, region)
    assert isinstance(mechanism_of(point), Mshare)
    program = found.programs[found.assignment[0]]
    (attach,) = program["attach"]
    # Exactly as long as the file, from its start: anything else is EINVAL. MAP_POPULATE would warn and fill nothing.
    assert (attach.length, attach.offset, attach.flags) == (WINDOW, 0, mmap.MAP_SHARED)
    assert attach.address % WINDOW == 0
    assert attach.advice == ()
    (unmap,) = program["unmap"]
    assert (unmap.address, unmap.length) == (attach.address, WINDOW)


def test_what_must_never_be_done_in_a_window_is_not_asked_for(region):
    found = casting(make_point("mshare", 2, 64 * MIB), region)
    asked = [op for program in found.programs for ops in program.values() for op in ops]
    assert not [op for op in asked if isinstance(op, o.Protect | o.Advise | o.AttachSegment)]
    # Data is written through the memfd behind the region: no populator that would be its first user.
    assert found.programs[found.assignment[-1]] == {"populate": []}
    assert all(op.first + op.count <= 64 * MIB // 4096 for op in asked if isinstance(op, o.Touch))


def test_a_parent_needs_a_child():
    with pytest.raises(CapabilityError, match="processes=1: mechanism=inherit needs a parent and a child"):
        cast(make_point("inherit", 1, 64 * MIB), [], mechanism_of(make_point("inherit", 1, 64 * MIB)).traits)
