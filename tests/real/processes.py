"""What the tests of real process groups share: populated memory, the kernel's figures of a process, expected tables."""

import mmap
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent import Map, Program, Touch, Unmap, agent_path
from mshare_bench.real.agent.ops import REGIONS_START
from tests.requirements import require

__all__ = [
    "FAULT_AROUND",
    "GIB",
    "KIB",
    "MIB",
    "PRIVATE",
    "READ",
    "alive",
    "await_gone",
    "expected_tables_kib",
    "memfd",
    "need_agent",
    "open_descriptors",
    "sharing",
    "status",
    "vmpte_kib",
]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
READ = mmap.PROT_READ
FAULT_AROUND = 16  # pages that one read fault of populated shared memory maps, where the kernel has its default


def need_agent() -> None:
    """Skip the test where the agent can't be had."""
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))


def memfd(size: int, pages: Iterable[int] | None = None) -> int:
    """Shared memory, written page by page (all pages, or those of 4 KiB that are listed)."""
    fd = os.memfd_create("mshare-test")
    os.ftruncate(fd, size)
    if pages is None:
        chunk = bytes(min(size, 1 << 20))
        for at in range(0, size, len(chunk)):
            os.pwrite(fd, chunk[: size - at], at)
    else:
        for page in pages:
            os.pwrite(fd, b"\0", page * 4096)
    return fd


def status(pid: int, key: str) -> str:
    """One line of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return line.split(":", 1)[1].strip()
    raise KeyError(key)


def vmpte_kib(pid: int) -> int:
    return int(status(pid, "VmPTE").split()[0])


def expected_tables_kib(address: int, size: int) -> int:
    """Tables of a dense range in upper slots of its own: one 4 KiB page per 2 MiB, 1 GiB and 512 GiB span it meets."""
    return sum(4 * ((address + size - 1 >> shift) - (address >> shift) + 1) for shift in (21, 30, 39))


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return status(pid, "State")[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_gone(pids: Iterable[int], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    left = [pid for pid in pids if alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [pid for pid in left if alive(pid)]
    if left:
        pytest.fail(f"still there: {left}")


def sharing(fd: int, size: int, address: int = REGIONS_START, **touch: object) -> Program:
    """A program that maps the memory, touches all its pages and unmaps it."""
    return {
        "attach": [Map(address, size, fd=fd)],
        "touch": [Touch(address, count=size // 4096, **touch)],
        "unmap": [Unmap(address, size)],
    }


def open_descriptors() -> list[str]:
    return sorted(file.name for file in Path("/proc/self/fd").iterdir())
