"""What an agent can be told to do, as frozen values; a program is a mapping of phase names to sequences of them.

All addresses, lengths, offsets and strides are in bytes; pages are counted from the start of the mapping in units of
the op's ``stride``. An op with ``guarded=True`` records its error and the phase goes on; without it, the first error
ends the phase, and a bad access kills the agent as it would any process.
"""

__all__ = [
    "FNV_BASIS",
    "REGIONS_START",
    "Advise",
    "AttachSegment",
    "Checksum",
    "Exec",
    "Exit",
    "Fork",
    "Join",
    "Map",
    "Op",
    "Program",
    "Protect",
    "Touch",
    "Unmap",
    "checksum",
]

import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

MAP_FIXED_NOREPLACE = 0x100000
REGIONS_START = 1 << 39
"""Lowest address for regions: below it lie the agent, its control memory and its stacks."""
FNV_BASIS = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


@dataclass(frozen=True, slots=True)
class Map:
    """``mmap`` at a fixed address; refused (EEXIST) where something is mapped already.

    ``advice`` is applied to the whole mapping, in order. ``address=0`` lets the kernel choose; the address is then in
    the op's result.
    """

    address: int
    length: int
    prot: int = mmap.PROT_READ | mmap.PROT_WRITE
    flags: int = mmap.MAP_SHARED
    fd: int = -1
    offset: int = 0
    advice: tuple[int, ...] = ()
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class AttachSegment:
    """``shmat`` of a System V segment at a fixed address; read-only where ``prot`` lacks PROT_WRITE."""

    address: int
    length: int
    shmid: int
    prot: int = mmap.PROT_READ | mmap.PROT_WRITE
    advice: tuple[int, ...] = ()
    guarded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """One load or store per page: pages ``first, first + step, ...`` or those that ``pages`` lists, in that order.

    ``pages`` is an array of uint32 page numbers; programs that hold the same array object share one copy of it. A
    write stores ``value``, plus the index of the agent with ``add_agent`` (modulo 256), or with ``number`` the page's
    address in eight bytes: contents that differ from page to page and are the same in every process. Guarded, each
    page that raises SIGSEGV or SIGBUS is skipped: the op's result then holds their number (``value``), the first signal
    and its address.
    """

    address: int
    count: int = 0
    first: int = 0
    step: int = 1
    stride: int = 4096
    pages: NDArray[np.uint32] | None = None
    write: bool = False
    value: int = 1
    add_agent: bool = False
    number: bool = False
    guarded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Checksum:
    """Reads one byte per page; the op's ``value`` is the `checksum` of the bytes (of 256 + signal where guarded)."""

    address: int
    count: int = 0
    first: int = 0
    step: int = 1
    stride: int = 4096
    pages: NDArray[np.uint32] | None = None
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Protect:
    """``mprotect``."""

    address: int
    length: int
    prot: int
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Advise:
    """``madvise`` over one range, or over ``count`` ranges of ``length`` bytes that begin ``stride`` bytes apart."""

    address: int
    length: int
    advice: int
    count: int = 1
    stride: int = 0
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Unmap:
    """``munmap``; also detaches a System V segment."""

    address: int
    length: int
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Fork:
    """Forks a child that runs the phase ``child`` of the same program.

    The child's times and faults are the agent's results of that phase; the op's ``value`` is the child's pid, its
    ``duration_ns`` that of ``clone`` alone. With ``stay`` the child lives until a `Join`; without, it exits and is
    reaped within this op. An agent has one child at a time, and a child forks no further.
    """

    child: str
    stay: bool = False
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Lets the staying child exit and reaps it; the op's ``duration_ns`` is the time of both."""

    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Exec:
    """``execve`` of a program that exits at once: meant for the child of a `Fork`."""

    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """Exits in the middle of a phase; an agent that does so counts as dead."""

    code: int = 0
    guarded: bool = False


Op: TypeAlias = Map | AttachSegment | Touch | Checksum | Protect | Advise | Unmap | Fork | Join | Exec | Exit
Program: TypeAlias = Mapping[str, Sequence[Op]]


def checksum(values: Iterable[int]) -> int:
    """64-bit FNV-1a over the values, as the agent computes it, as a signed integer.

    Source: Fowler, Noll, Vo; here a value may be over 255 (256 + signal of a byte that could not be read).
    """
    state = FNV_BASIS
    for value in values:
        state = ((state ^ value) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return state - (1 << 64) if state >= 1 << 63 else state
