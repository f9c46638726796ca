"""Memory policies and migration: the system calls that glibc leaves to libnuma, by ctypes.

Limits: a *task's* policy (`task_policy`) decides where everything lies that the task makes the kernel allocate, its page tables
among it; that of a *range* (`mbind`) decides only where the range's data lies. Of shared memory the policy of a range is the
file's and holds for all who map it; a hugetlb file does not keep it. A page that several processes map moves only with
`Move.ALL`, which takes CAP_SYS_NICE; without it `move_pages` gives the status -EACCES for such a page. Page tables never move.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import platform
from collections.abc import Iterable, Iterator
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mshare_bench.errors import CapabilityError

__all__ = [
    "Mode",
    "Move",
    "bind_file",
    "mbind",
    "migrate_pages",
    "move_pages",
    "page_nodes",
    "task_policy",
    "unavailable",
]

# From the kernel's syscall tables: x86-64 has its own, later architectures share asm-generic.
_NUMBERS = {
    "x86_64": {"mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279},
    "aarch64": {"mbind": 235, "get_mempolicy": 236, "set_mempolicy": 237, "migrate_pages": 238, "move_pages": 239},
}
_WORDS = 16
_BITS = 64 * _WORDS
_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.restype = ctypes.c_long


class Mode(IntEnum):
    """How a policy chooses nodes; the values of `linux/mempolicy.h`."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3
    LOCAL = 4


class Move(IntFlag):
    """Which pages move: those that only the one process maps, or all."""

    OWN = 2
    ALL = 4


def unavailable() -> str | None:
    """Say why there are no memory policies here; None where there are."""
    try:
        _call("get_mempolicy", None, None, 0, None, 0)
    except OSError as error:
        return "this kernel has no memory policies" if error.errno == errno.ENOSYS else f"{error.strerror}"
    except CapabilityError as error:
        return str(error)
    return None


@contextlib.contextmanager
def task_policy(mode: Mode, nodes: Iterable[int] = ()) -> Iterator[None]:
    """Have this thread, and processes that it starts, allocate by a policy; the one before comes back at the end.

    Raises
    ------
    OSError
        When the kernel refuses: a node that does not exist, or has no memory.
    """
    before, mask = ctypes.c_int(), _mask(())
    _call("get_mempolicy", ctypes.byref(before), mask, _BITS, None, 0)
    _call("set_mempolicy", int(mode), _mask(nodes), _BITS)
    try:
        yield
    finally:
        _call("set_mempolicy", before.value, mask, _BITS)


def mbind(address: int, length: int, mode: Mode, nodes: Iterable[int], move: Move | None = None) -> None:
    """Set the policy of a range of this process; with `move`, bring what is there already in line with it.

    Raises
    ------
    OSError
        When the kernel refuses; EIO where pages could not be moved.
    """
    _call("mbind", ctypes.c_ulong(address), ctypes.c_ulong(length), int(mode), _mask(nodes), _BITS, int(move or 0))


def bind_file(fd: int, length: int, mode: Mode, nodes: Iterable[int]) -> None:
    """Set the policy of a file in shared memory: pages to come lie by it, whoever touches them first.

    Raises
    ------
    OSError
        When it can't be mapped, or the kernel refuses the policy.
    """
    with mmap.mmap(fd, length, mmap.MAP_SHARED) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        try:
            mbind(ctypes.addressof(start), length, mode, nodes)
        finally:
            del start  # the mapping can't be closed while it is pointed into


def move_pages(pid: int, addresses: ArrayLike, nodes: ArrayLike, move: Move = Move.OWN) -> NDArray[np.int32]:
    """Move pages of a process.

    Parameters
    ----------
    pid
        The process; 0 for this one.
    addresses
        One per page, any address in it.
    nodes
        Where to, one for all or one per page.

    Returns
    -------
    ndarray of int32
        The node of each page now, or -errno: -EACCES where others map it too, -ENOENT where nothing is mapped, -EBUSY.

    Raises
    ------
    OSError
        When nothing is moved at all: no right to, no such process or node.
    """
    at = np.ascontiguousarray(addresses, np.uint64)
    to = np.ascontiguousarray(np.broadcast_to(np.asarray(nodes, np.int32), at.shape))
    return _move(pid, at, to, move)


def page_nodes(pid: int, addresses: ArrayLike) -> NDArray[np.int32]:
    """On which node each page of a process lies; -errno where none is mapped. See `move_pages`."""
    return _move(pid, np.ascontiguousarray(addresses, np.uint64), None, Move.OWN)


def migrate_pages(pid: int, source: Iterable[int], target: Iterable[int]) -> int:
    """Move all that a process alone has on some nodes to others; give how many pages could not be moved.

    Raises
    ------
    OSError
        When the kernel refuses.
    """
    return _call("migrate_pages", pid, _BITS, _mask(source), _mask(target))


def _move(pid: int, at: NDArray[np.uint64], to: NDArray[np.int32] | None, move: Move) -> NDArray[np.int32]:
    status = np.full(at.shape, -errno.ENOENT, np.int32)
    if len(at):
        target = None if to is None else ctypes.c_void_p(to.ctypes.data)
        pointers = (ctypes.c_void_p(at.ctypes.data), target, ctypes.c_void_p(status.ctypes.data))
        _call("move_pages", pid, ctypes.c_ulong(len(at)), *pointers, int(move))
    return status


def _mask(nodes: Iterable[int]) -> "ctypes.Array[ctypes.c_ulong]":
    words = (ctypes.c_ulong * _WORDS)()
    for node in nodes:
        if not 0 <= node < _BITS:
            raise OSError(errno.EINVAL, f"node {node} is not within 0..{_BITS - 1}")
        words[node // 64] |= 1 << (node % 64)
    return words


def _call(name: str, *arguments: object) -> int:
    number = _NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise CapabilityError(f"{name}: system call number not known for {platform.machine()}")
    result = int(_SYSCALL(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
