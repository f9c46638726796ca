import contextlib
import ctypes
import mmap
import os
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters import pagemap as module
from mshare_bench.real.counters.pagemap import ScanBuffer, first_of_cells, open_pagemap, resident, scan_unavailable
from tests.real.counters.agents import python_child
from tests.requirements import require

MIB = 1 << 20
SPAN = 2 * MIB


@pytest.fixture(params=[True, False], ids=["PAGEMAP_SCAN", "file"])
def scan(request):
    if request.param:
        require("kernel", scan_unavailable() is None, str(scan_unavailable()))
    return request.param


@contextlib.contextmanager
def region(pages, size=32 * MIB, advice=None):
    """Shared memory of this process at a multiple of 2 MiB, with those pages touched; gives its address."""
    with mmap.mmap(-1, size + SPAN) as memory:
        if advice is not None:
            memory.madvise(advice)
        view = (ctypes.c_char * 1).from_buffer(memory)
        base = ctypes.addressof(view)
        del view
        start = -(-base // SPAN) * SPAN
        for page in pages:
            memory[start - base + page * 4096] = 1
        yield start


def pages_of(pagemap, start):
    """Pages of the ranges that were appended, counted from `start`."""
    rows = pagemap.buffer.rows[: pagemap.buffer.used].tolist()
    return [page for first, last, _ in rows for page in range((first - start) // 4096, (last - start) // 4096)]


@pytest.mark.parametrize(
    "pages", [[], [0], [8191], list(range(700)), list(range(0, 8192, 512)), [1, 2, 3, 511, 512, 5000]]
)
def test_populated_pages_are_those_that_were_touched(scan, pages):
    with region(pages) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(), scan=scan) as pagemap:
        assert pagemap.scan(start, start + 32 * MIB) == start + 32 * MIB
        assert pages_of(pagemap, start) == pages
        assert not pagemap.buffer.rows[: pagemap.buffer.used, 2].any()


def test_more_ranges_than_there_is_room_for(scan):
    pages = list(range(0, 8192, 2))
    with region(pages, 64 * MIB) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(8), scan=scan) as pagemap:
        at, calls = start, 0
        while at < start + 64 * MIB:
            at = pagemap.scan(at, start + 64 * MIB)
            calls += 1
        assert pages_of(pagemap, start) == pages
        assert calls <= 2


def test_ranges_are_appended_to_what_is_there(scan):
    with region([3, 700]) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(1), scan=scan) as pagemap:
        pagemap.buffer.append(np.array([4096]), np.array([8192]))
        before = pagemap.buffer.rows[:1]
        pagemap.scan(start, start + 32 * MIB)
        assert pagemap.buffer.rows[:3, 0].tolist() == [4096, start + 3 * 4096, start + 700 * 4096]
        assert before.tolist() == [[4096, 8192, 0]], "a view from before growing stays as it was"


def test_stopping_after_some_pages_and_going_on(scan):
    pages = [*range(100, 400), *range(1000, 3000, 7)]
    with region(pages) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(), scan=scan) as pagemap:
        at = start
        while at < start + 32 * MIB:
            before = len(pages_of(pagemap, start))
            at = pagemap.scan(at, start + 32 * MIB, 50)
            assert len(pages_of(pagemap, start)) - before <= 50
        assert pages_of(pagemap, start) == pages


@pytest.mark.parametrize("phase", [0, 4096, SPAN - 4096])
@pytest.mark.parametrize("limit", [3, 1000])
def test_first_pages_of_cells(scan, phase, limit):
    pages = [*range(700), 1024, 1025, *range(3000, 3600), 8000]
    with region(pages) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(2), scan=scan) as pagemap:
        at = start
        while at < start + 32 * MIB:
            before = pagemap.buffer.used
            at = pagemap.first_pages(at, start + 32 * MIB, SPAN, phase, limit)
            assert pagemap.buffer.used - before <= limit
        found = pages_of(pagemap, start)
        assert not pagemap.buffer.rows[: pagemap.buffer.used, 2].any()
    expected, cells = [], set()
    for page in pages:
        cell = page * 4096 // SPAN, (page * 4096 - phase) // SPAN if phase else 0
        if cell not in cells:
            cells.add(cell)
            expected.append(page)
    assert found == expected


def test_huge_pages_are_told_by_the_scan_alone():
    require("kernel", scan_unavailable() is None, str(scan_unavailable()))
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as setting:
        require("kernel", "[never]" not in setting.read(), "transparent_hugepage=never")
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    at = libc.mmap(None, 3 * SPAN, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    start = -(-at // SPAN) * SPAN
    libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(3 * SPAN), mmap.MADV_HUGEPAGE)
    ctypes.memset(start, 1, 1)
    with open("/proc/self/smaps") as file:
        huge = sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages"))
    require("kernel", huge >= 2048, "the kernel had no huge page to give")
    for scans in (True, False):
        with open_pagemap("/proc/self/pagemap", ScanBuffer(), scan=scans) as pagemap:
            assert pagemap.tells_huge is scans
            pagemap.scan(start, start + SPAN)
            pagemap.first_pages(start, start + SPAN, SPAN, 0, 10)
            marks = (pagemap.buffer.rows[: pagemap.buffer.used, 2] != 0).tolist()
            assert pages_of(pagemap, start) == [*range(512), 0]
            assert marks == [scans, scans]
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(3 * SPAN))


def test_frames_are_told_to_root():
    with region([5, 6]) as start, open_pagemap("/proc/self/pagemap", ScanBuffer(), scan=False) as pagemap:
        index, frames = pagemap.file_frames(start, 512)
    if os.geteuid():
        assert len(index) == 0
        return
    assert index.tolist() == [5, 6]
    assert (frames > 0).all()


def test_pages_of_another_process_that_are_there():
    body = """
memory = mmap.mmap(-1, 32 << 20)
for page in (0, 7, 600):
    memory[page * 4096] = 1
ready(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
"""
    with python_child(body) as child:
        base = child.values[0]
        pages = np.array([0, 1, 7, 599, 600], np.int64)
        there = resident(child.pid, base + pages * 4096)
        require("kernel", there is not None, "move_pages(2) is not there")
        assert there.tolist() == [True, False, True, False, True]
        nowhere = np.array([base - (1 << 40)], np.int64)
        assert resident(child.pid, nowhere).tolist() == [False]
    assert resident(child.pid, base + pages * 4096) is None


def test_a_process_that_has_ended():
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(FileNotFoundError):
        open_pagemap(f"/proc/{child.pid}/pagemap", ScanBuffer(1))


def test_what_may_not_be_read(tmp_path):
    require("kernel", os.geteuid() == 0, "only root can become another user")
    code = (
        "import os, sys\nfrom mshare_bench.errors import CapabilityError\n"
        "from mshare_bench.real.counters.pagemap import ScanBuffer, open_pagemap\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n    open_pagemap('/proc/%s/pagemap' % sys.argv[1], ScanBuffer(1))\n"
        "except CapabilityError as error:\n    print(error)\n"
    )
    import sys

    ran = subprocess.run(
        [sys.executable, "-c", code, str(os.getpid())], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == f"cannot read /proc/{os.getpid()}/pagemap: Permission denied"


def test_an_older_kernel_is_told_by_trying(monkeypatch):
    def refuse(*_):
        raise OSError(25, "Inappropriate ioctl for device")

    scan_unavailable.cache_clear()
    monkeypatch.setattr(module.fcntl, "ioctl", refuse)
    try:
        assert "Linux has it since 6.7" in scan_unavailable()
        assert type(open_pagemap("/proc/self/pagemap", ScanBuffer(1)).__enter__()) is module.Pagemap
    finally:
        scan_unavailable.cache_clear()


def test_unreadable_is_told_as_such(monkeypatch):
    def refuse(*_):
        raise CapabilityError("cannot read /proc/self/pagemap: Permission denied")

    scan_unavailable.cache_clear()
    monkeypatch.setattr(module, "_ScanningPagemap", refuse)
    try:
        assert "Permission denied" in scan_unavailable()
    finally:
        scan_unavailable.cache_clear()


@given(st.sets(st.integers(0, 60)), st.integers(1, 9), st.integers(0, 8))
def test_cells_of_ranges(pages, span, phase):
    phase %= span
    ranges = []
    for page in sorted(pages):
        if ranges and ranges[-1][1] == page:
            ranges[-1][1] = page + 1
        else:
            ranges.append([page, page + 1])
    array = np.array(ranges, np.int64).reshape(-1, 2)
    lowest = {}
    for page in sorted(pages):
        lowest.setdefault((page // span, (page - phase) // span if phase else 0), page)
    assert first_of_cells(array[:, 0], array[:, 1], span, phase).tolist() == sorted(lowest.values())
