"""How address spaces are read: what guesses may and may not do."""

import numpy as np
import pytest

from mshare_bench.audit.layout import Layouts
from mshare_bench.audit.objects import Filesystems, Objects
from mshare_bench.audit.population import Reader
from mshare_bench.domain.geometry import X86_64
from mshare_bench.real.agent import Map, Touch
from mshare_bench.real.counters.pagemap import first_of_cells, scan_unavailable
from tests.audit.scene import BASE, MIB, agents, memfd_of, sharing
from tests.requirements import require

pytestmark = pytest.mark.kernel
_SPAN = 2 * MIB


@pytest.fixture(autouse=True)
def _scan():
    require("kernel", scan_unavailable() is None, str(scan_unavailable()))


@pytest.fixture
def layouts():
    return Layouts(Objects(Filesystems()), X86_64)


def layout_of(layouts, pid):
    with open(f"/proc/{pid}/maps", "rb") as file:
        return layouts.layout(file.read(), pid)


def read(reader, layouts, pid, **how):
    layout = layout_of(layouts, pid)
    with reader.open(f"/proc/{pid}") as pagemap:
        return reader.read(pagemap, pid, layout, **how)


def tables(found, low=BASE, high=BASE + (1 << 40)):
    """PTE tables between two addresses."""
    slots = set()
    for start, end in zip(found.start.tolist(), found.end.tolist(), strict=True):
        if low <= start < high:
            slots |= set(range(start // _SPAN, (end - 1) // _SPAN + 1))
    return {slot - low // _SPAN for slot in slots}


def test_a_process_like_the_one_before_is_proven_without_a_scan(layouts):
    with memfd_of(64 * MIB) as fd, agents(sharing(fd, 64 * MIB), count=2, fds=[fd]) as pids:
        reader = Reader(X86_64)
        first, second = (read(reader, layouts, pid) for pid in pids)
    assert tables(first) == tables(second) == set(range(32))
    # Every table that can be there was found, so nothing is left to guess: one range stands for all.
    large = (second.start >= BASE) & (second.start < BASE + 64 * MIB)
    assert (second.end - second.start)[large].tolist() == [64 * MIB]
    assert not second.guessed


def test_a_guess_that_leaves_room_is_marked(layouts):
    with memfd_of(64 * MIB) as fd:
        some = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=20, stride=_SPAN)]
        every = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=32, stride=_SPAN)]
        with agents(some, every, fds=[fd]) as pids:
            reader = Reader(X86_64)
            first, second = (read(reader, layouts, pid) for pid in pids)
            thorough = read(reader, layouts, pids[1], thorough=True)
    assert not first.guessed
    assert second.guessed
    assert tables(second) == set(range(20)), "true as far as it goes"
    assert tables(thorough) == set(range(32))
    assert not thorough.guessed


def test_a_guess_that_does_not_hold_is_dropped(layouts):
    with memfd_of(64 * MIB) as fd:
        some = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE, count=20, stride=_SPAN)]
        others = [Map(BASE, 64 * MIB, fd=fd), Touch(BASE + 10 * _SPAN, count=20, stride=_SPAN)]
        with agents(some, others, some, others, count=12, fds=[fd]) as pids:
            reader = Reader(X86_64)
            found = [tables(read(reader, layouts, pid)) for pid in pids]
    assert found == [set(range(20)), set(range(10, 30))] * 6


@pytest.mark.parametrize("shift", [0, 4096, _SPAN - 4096])
def test_dense_mappings_are_jumped_through_and_nothing_is_lost(layouts, shift):
    size = 100 * MIB
    with memfd_of(size) as fd, agents(sharing(fd, size, BASE + shift), fds=[fd]) as pids:
        found = read(Reader(X86_64), layouts, pids[0])
    inside = (found.start >= BASE) & (found.start < BASE + 2 * size)
    start, end = found.start[inside], found.end[inside]
    assert tables(found) == set(range(50 + (shift > 0)))
    # The sample that shows it is dense, then jumps: a page for each table, two where the object's multiples lie elsewhere.
    assert len(start) <= 2 * 51
    assert (end - start).sum() <= 16 * MIB + 2 * 51 * 4096
    cells = first_of_cells(start, end, _SPAN, shift)
    expected = {BASE + shift + at * _SPAN for at in range(50)} | {
        BASE + at * _SPAN for at in range(1, 51 if shift else 50)
    }
    assert set(cells.tolist()) == expected


def test_mixed_densities_are_found(layouts):
    size = 200 * MIB
    rng = np.random.default_rng(7)
    dense, sparse = np.arange(0, 9000), np.sort(rng.choice(np.arange(20000, 51200), 300, replace=False))
    pages = np.concatenate([dense, sparse, [51199]]).astype(np.uint32)
    with memfd_of(size, populate=False) as fd:
        program = [Map(BASE, size, fd=fd), Touch(BASE, pages=pages, write=True)]
        with agents(program, fds=[fd]) as pids:
            found = read(Reader(X86_64), layouts, pids[0])
    assert tables(found) == set((pages // 512).tolist())


def test_memory_of_ranges_is_used_again(layouts):
    with memfd_of(32 * MIB) as fd, agents(sharing(fd, 32 * MIB), count=2, fds=[fd]) as pids:
        reader = Reader(X86_64)
        first = read(reader, layouts, pids[0])
        seen = tables(first)
        second = tables(read(reader, layouts, pids[1]))
        assert tables(first) == seen, "until it is reset, what was given stays"
        reader.reset()
        third = read(reader, layouts, pids[1])
    assert np.shares_memory(first.rows, third.rows)
    assert seen == second == tables(third) == set(range(16))
