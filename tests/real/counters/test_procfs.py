import ctypes
import os
import subprocess
import sys

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import keyed_kib, read_file, read_int, read_process_file, read_text, start_time


def test_a_large_file_is_read_whole():
    # Hundreds of lines: far over the one page that procfs gives per read.
    with open("/proc/self/smaps", "rb") as plain:
        lines = plain.read().count(b"\n")
    data = read_file("/proc/self/smaps")
    assert len(data) > 3 * 4096
    assert data.count(b"\n") == pytest.approx(lines, rel=0.1)
    assert data.endswith(b"\n")


def test_a_short_read_is_not_the_end(tmp_path):
    # The first lines of maps are short and the next one does not fit beside them into a page: a short read ends there.
    folder = tmp_path
    while len(str(folder)) < 4000 - 201:
        folder = folder / ("x" * 200)
        folder.mkdir()
    path = folder / ("x" * (4000 - len(str(folder)) - 1))
    path.write_bytes(b"\0" * 4096)
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    addresses = (0x100000, 0x200000, 0x300000)
    with open(path, "r+b") as file:
        for address in addresses[:2]:
            assert libc.mmap(address, 4096, 1, 0x100022, -1, 0) == address
        assert libc.mmap(addresses[2], 4096, 1, 0x100001, file.fileno(), 0) == addresses[2]
    try:
        data = read_file("/proc/self/maps")
    finally:
        for address in addresses:
            libc.munmap(address, 4096)
    assert data.startswith(b"00100000-")
    assert data.splitlines()[2].endswith(os.fsencode(path))


def test_absent_is_none_and_forbidden_is_an_error_with_the_name(tmp_path):
    assert read_file("/proc/self/no_such_file") is None
    assert read_process_file(1 << 22, "status") is None
    with pytest.raises(CapabilityError, match=str(tmp_path)):
        read_file(str(tmp_path))  # a folder: EISDIR


def test_text_and_int(tmp_path):
    (tmp_path / "number").write_text("42\n")
    (tmp_path / "word").write_text("max\n")
    assert read_int(tmp_path / "number") == 42
    assert read_int(tmp_path / "word") is None
    assert read_text(tmp_path / "word") == "max"
    assert read_text(tmp_path / "none") is None


def test_key_must_start_a_line():
    data = b"HugePages_Free: 3\nSecPageTables:    8 kB\nPageTables:     12 kB\n"
    assert keyed_kib(data, b"PageTables") == 12 * 1024
    assert keyed_kib(data, b"SecPageTables") == 8 * 1024
    assert keyed_kib(data, b"Tables") is None
    assert keyed_kib(b"Node 0 PageTables:  4 kB\n", b"PageTables") == 4096


def test_start_time_names_a_process_and_a_zombie_has_none():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        began = start_time(child.pid)
        assert began is not None
        assert began >= start_time(os.getpid())
    finally:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.communicate()
    assert start_time(child.pid) is None
