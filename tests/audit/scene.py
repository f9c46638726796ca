"""Processes to audit: small agents that map what a test says and touch it."""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence

from mshare_bench.audit import Audit
from mshare_bench.audit.result import SharedObject
from mshare_bench.real.agent import Map, Op, Touch
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree, Spawn
from tests.real.processes import need_agent

__all__ = ["BASE", "GIB", "KIB", "MIB", "agents", "found", "memfd_of", "segment", "sharing", "vmpte"]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BASE = REGIONS_START


@contextlib.contextmanager
def agents(
    *programs: Sequence[Op],
    count: int | None = None,
    fds: Sequence[int] = (),
    spawn: Spawn = Spawn.FORK,
    parallel: int | None = None,
) -> Iterator[list[int]]:
    """Start processes that have run their ops and wait; each runs one of the programs in turn. Gives their pids."""
    need_agent()
    count = count or len(programs)
    assignment = [index % len(programs) for index in range(count)]
    tree_programs = [{"do": list(program)} for program in programs]
    with ProcessTree(tree_programs, count, assignment, fds=fds, spawn=spawn) as tree:
        tree.launch()
        tree.run("do", parallel=parallel)
        yield [int(pid) for pid in tree.pids]
        tree.check()


def sharing(fd: int, size: int, address: int = BASE, *, step: int = 1, offset: int = 0) -> list[Op]:
    """Map a file shared and read one page of each `step`."""
    pages = -(-size // 4096 // step)
    return [Map(address, size, fd=fd, offset=offset), Touch(address, count=pages, step=step)]


@contextlib.contextmanager
def memfd_of(size: int, *, flags: int = 0, populate: bool = True) -> Iterator[int]:
    """Make a memfd of that size, every page of it filled."""
    fd = os.memfd_create("audited", os.MFD_CLOEXEC | flags)
    try:
        os.ftruncate(fd, size)
        if populate:
            step = 2 * MIB if flags & os.MFD_HUGETLB else 4096
            with mmap.mmap(fd, size) as memory:
                for at in range(0, size, step):
                    memory[at] = 1
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def segment(size: int) -> Iterator[int]:
    """Make a SysV segment that goes with its last user."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    identity = libc.shmget(0, size, 0o600 | 0o1000)
    assert identity >= 0, os.strerror(ctypes.get_errno())
    try:
        yield identity
    finally:
        libc.shmctl(identity, 0, None)


def vmpte(pid: int) -> int:
    """VmPTE of a process in bytes, read without the code under test."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPTE"))


def found(audit: Audit, name: str) -> SharedObject:
    """Find the one object with that in its name."""
    (one,) = [one for one in audit.objects if name in one.object]
    return one
