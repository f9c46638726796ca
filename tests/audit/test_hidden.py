import os
import time

import pytest

from mshare_bench.audit.hidden import clock_read, hidden_tables
from mshare_bench.audit.layout import Layouts
from mshare_bench.audit.objects import PRIVATE, Filesystems, Kind, Objects
from mshare_bench.audit.pieces import cut
from mshare_bench.domain.geometry import X86_64
from tests.audit.scene import agents
from tests.audit.toys import TOY, Mapping, layout_of, objects_of, population_of
from tests.requirements import require

_STACK = Mapping(0, 4, PRIVATE, pages=frozenset({1}))


def hidden(mappings, which, missing, kinds=(), clock_read=True):
    layout = layout_of(mappings)
    layout.columns[:, -1] = [at in which for at in range(len(mappings))]  # special: 1 for the clock's pages
    pieces = cut([(layout, population_of(mappings))], TOY)
    return hidden_tables(layout, pieces, missing, objects_of(*kinds), TOY, clock_read=clock_read)


def test_a_clock_page_in_a_table_of_its_own():
    # In the PMD and PUD table of the stack: only a PTE table is new.
    assert hidden([_STACK, Mapping(8, 2, PRIVATE)], {1}, 1) == [(0, PRIVATE, 1)]
    # Far away: one of each level.
    assert sorted(hidden([_STACK, Mapping(640, 2, PRIVATE)], {1}, 3)) == [
        (0, PRIVATE, 1),
        (1, PRIVATE, 1),
        (2, PRIVATE, 1),
    ]


@pytest.mark.parametrize("missing", [2, 3, 5])
def test_what_is_not_exact_is_left_alone(missing):
    assert hidden([_STACK, Mapping(8, 2, PRIVATE)], {1}, missing) == []


def test_a_clock_page_in_the_stacks_table_explains_nothing():
    assert hidden([_STACK, Mapping(3, 1, PRIVATE)], {1}, 1) == []


def test_device_memory_that_shows_no_page():
    device = Mapping(64, 16, 1)
    found = hidden([_STACK, device], set(), 6, [Kind.DEVICE])
    assert found == [(0, 1, 4), (1, 1, 1), (2, 1, 1)]
    # One that does show pages is seen, not hidden.
    seen = Mapping(64, 16, 1, pages=frozenset({64}))
    assert hidden([_STACK, seen], set(), 3, [Kind.DEVICE]) == []


def test_device_and_clock_together():
    assert (
        sum(
            tables
            for _, _, tables in hidden([_STACK, Mapping(8, 1, PRIVATE), Mapping(64, 16, 1)], {1}, 7, [Kind.DEVICE])
        )
        == 7
    )


def test_other_kinds_are_never_hidden():
    assert hidden([_STACK, Mapping(64, 16, 1)], set(), 6, [Kind.FILE]) == []


def test_a_clock_that_was_never_read_explains_nothing():
    assert hidden([_STACK, Mapping(8, 2, PRIVATE)], {1}, 1, clock_read=False) == []


def _layout(pid):
    with open(f"/proc/{pid}/maps", "rb") as file:
        return Layouts(Objects(Filesystems()), X86_64).layout(file.read(), pid)


@pytest.mark.kernel
def test_this_process_has_read_the_clock_and_so_have_those_forked_from_it():
    time.clock_gettime(time.CLOCK_MONOTONIC)
    require("kernel", any(_layout(os.getpid()).hidden), "the kernel has no [vvar]")
    assert clock_read(os.getpid(), _layout(os.getpid()))
    ready, stop = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.write(ready[1], b"x")
        os.read(stop[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        assert clock_read(pid, _layout(pid))
    finally:
        os.write(stop[1], b"x")
        os.waitpid(pid, 0)


@pytest.mark.kernel
def test_an_agent_never_reads_it():
    with agents([]) as pids:
        assert not clock_read(pids[0], _layout(pids[0]))
