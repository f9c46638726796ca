"""What frames tell: files of several overlay mounts are one, tables of hugetlb memory are shared."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mshare_bench.audit import audit_host, frames
from mshare_bench.audit.frames import frames_unavailable, shared_tables
from mshare_bench.audit.tally import SharedSlots
from mshare_bench.real.counters.pagemap import ScanBuffer, open_pagemap
from tests.audit.scene import MIB
from tests.requirements import require

pytestmark = pytest.mark.kernel

# Runs in a mount namespace of its own: overlay mounts over one lower folder, a process in each that maps a file of it.
_CONTAINERS = """
import mmap, os, signal, subprocess, sys
root, mounts, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.makedirs(f"{root}/lower")
for name in ("library", "other"):
    with open(f"{root}/lower/{name}", "wb") as file:
        file.write(os.urandom(size))
ready, pids = os.pipe(), []
for at in range(mounts):
    here = f"{root}/{at}"
    for folder in ("upper", "work", "merged"):
        os.makedirs(f"{here}/{folder}")
    options = f"lowerdir={root}/lower,upperdir={here}/upper,workdir={here}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, f"{here}/merged"], check=True)
    if at == 1:
        with open(f"{here}/merged/other", "r+b") as file:
            file.write(b"copied up")
    pids.append(os.fork())
    if not pids[-1]:
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        maps = []
        for name in ("library", "other"):
            with open(f"{here}/merged/{name}", "rb") as file:
                maps.append(mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ))
            # The library is used in different places: a third of it is all that two processes have in common.
            start = at % 3 * size // 6 if name == "library" else 0
            for place in range(start, start + size // 2, 4096):
                maps[-1][place]
        os.write(ready[1], b"x")
        signal.pause()
for _ in range(mounts):
    os.read(ready[0], 1)
print(*pids, flush=True)
sys.stdin.readline()
"""


def _may_mount():
    ran = (
        subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    )
    return ran is not None and ran.returncode == 0 and "overlay" in open("/proc/filesystems").read()


@pytest.fixture
def containers(tmp_path):
    require("kernel", _may_mount(), "overlay mounts in a mount namespace of their own are not possible here")
    command = ["unshare", "-m", sys.executable, "-c", _CONTAINERS, str(tmp_path), "6", str(4 * MIB)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield [int(pid) for pid in child.stdout.readline().split()]
    finally:
        child.kill()
        child.communicate()


def test_a_file_of_many_overlay_mounts_is_one_object(containers):
    assert len(containers) == 6
    audit = audit_host(pids=containers)
    (library,) = [one for one in audit.objects if one.object.endswith("/library")]
    assert (library.kind, library.mappers, library.names) == ("private_file", 6, 6)
    # The file that one of them has changed is a file of its own there.
    others = sorted((one.mappers, one.names) for one in audit.objects if one.object.endswith("/other"))
    assert others == [(1, 1), (5, 5)]
    assert all(one.unattributed_bytes == 0 for one in audit.processes)


def test_without_frames_they_stay_apart_and_it_says_so(containers, monkeypatch):
    monkeypatch.setattr(frames.Frames, "look", lambda *_: None)
    audit = audit_host(pids=containers)
    assert len([one for one in audit.objects if one.object.endswith("/library")]) == 6


def test_frames_can_be_read_by_root_alone():
    assert (frames_unavailable() is None) == (os.geteuid() == 0)


def _slots(rows):
    columns = np.array(rows, np.int64).T
    return SharedSlots(*columns)


def test_shared_tables_by_the_conditions_of_the_kernel():
    # A pid that does not exist: no frame can be looked at, so protection and position decide.
    gone = subprocess.Popen(["true"])
    gone.wait()
    rows = [
        (1, 0, 11, 300, gone.pid, 0),  # 300 processes that write, 100 that only read: two tables
        (1, 0, 9, 100, gone.pid, 0),
        (1, 1 << 30, 11, 2, gone.pid, 0),  # the next slot: one table for two
        (2, 0, 11, 1, gone.pid, 0),
    ]
    tables, measured = shared_tables(_slots(rows), 4, 4096)
    assert tables.tolist() == [0, 398 + 1, 0, 0]
    assert measured.tolist() == [True, False, False, True]


def test_shared_tables_by_map_count(monkeypatch):
    counts = {(7, 0x1000): 3, (8, 0x2000): 5}
    monkeypatch.setattr(frames, "_map_count", lambda pid, address, page: counts[pid, address])
    rows = [(1, 0, 11, 10, 7, 0x1000), (1, 1 << 30, 11, 4, 8, 0x2000)]
    tables, measured = shared_tables(_slots(rows), 2, 4096)
    assert tables.tolist() == [0, 7], "of ten users three tables; and never less than none"
    assert measured.all()


def test_no_slots_no_tables():
    none = np.empty(0, np.int64)
    assert shared_tables(SharedSlots(none, none, none, none, none, none), 3, 4096)[0].tolist() == [0, 0, 0]


def test_map_count_of_a_page_of_ones_own():
    require("kernel", os.geteuid() == 0, "frame numbers are for root")
    import mmap

    with mmap.mmap(-1, 4096) as memory:
        memory[0] = 1
        address = np.frombuffer(memory, np.uint8).ctypes.data
        with open_pagemap("/proc/self/pagemap", ScanBuffer(1), scan=False) as pagemap:
            index, frame = pagemap.file_frames(address, 1)
        assert index.tolist() == [0]
        assert frame[0] > 0
        assert frames._map_count(os.getpid(), address, 4096) == 1
