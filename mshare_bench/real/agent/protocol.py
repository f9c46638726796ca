"""The control memory as numpy sees it: the same layout as ``protocol.h``, which explains it.

A test reads ``protocol.h`` and compares it with this module, and the zygote refuses sizes that are not its own.
"""

__all__ = [
    "CONTROL_ADDRESS",
    "HEADER",
    "MAGIC",
    "MASK_WORDS",
    "MESSAGE",
    "OP",
    "OP_RESULT",
    "PATH_BYTES",
    "PHASE_RESULT",
    "PLACEMENT",
    "RECORD_HEAD",
    "SPAN",
    "VERSION",
    "Flag",
    "MessageKind",
    "OpKind",
    "Spawn",
    "Step",
]

import struct
from enum import IntEnum, IntFlag

import numpy as np

MAGIC = 0x6D736861
VERSION = 1
CONTROL_ADDRESS = 0x10000000
PATH_BYTES = 1024
MASK_WORDS = 16

MESSAGE = struct.Struct("=I3iq")
"""One packet between controller and zygote: kind, a, b, c, d."""


class Spawn(IntEnum):
    """How agents come to be: forked, processes on one address space, or threads of one process."""

    FORK = 0
    CLONE_VM = 1
    THREAD = 2


class OpKind(IntEnum):
    """What an op does."""

    MAP = 1
    SHMAT = 2
    TOUCH = 3
    CHECKSUM = 4
    PROTECT = 5
    ADVISE = 6
    UNMAP = 7
    FORK = 8
    JOIN = 9
    EXEC = 10
    EXIT = 11


class Flag(IntFlag):
    """How an op does it."""

    GUARDED = 1
    WRITE = 2
    LIST = 4
    ADD_AGENT = 8
    STAY = 16
    NUMBER = 32


class MessageKind(IntEnum):
    """Commands of the controller (below 16) and replies of the zygote."""

    LAUNCH = 1
    RUN = 2
    EXIT = 3
    PREFORK = 4
    PING = 5
    QUIT = 6
    READY = 16
    FAILED = 17
    DIED = 18
    DONE = 19


class Step(IntEnum):
    """What the zygote was doing when it failed."""

    PROTOCOL = 1
    CGROUP = 2
    NICE = 3
    OOM_SCORE = 4
    SIGNALS = 5
    AFFINITY = 6
    MEMPOLICY = 7
    CLONE = 8
    STACKS = 9


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


HEADER = np.dtype(
    [
        *_fields("u4", "magic version header_bytes op_bytes record_head_bytes phase_result_bytes op_result_bytes"),
        *_fields("u4", "placement_bytes agents phases spawn record_bytes op_slots set_nice"),
        ("nice", "i4"),
        ("set_oom_score", "u4"),
        ("oom_score", "i4"),
        ("idle_seconds", "u4"),
        *_fields("u8", "turns_offset spans_offset bases_offset ops_offset placements_offset lists_offset"),
        *_fields("u8", "records_offset total_bytes"),
        *_fields("u4", "sequence phase lo hi parallel done failed_step failed_errno failed_agent pad"),
        ("cgroup_path", f"S{PATH_BYTES}"),
    ],
    align=True,
)
SPAN = np.dtype(_fields("u4", "first count"), align=True)
OP = np.dtype(
    [
        *_fields("u4", "kind flags"),
        *_fields("u8", "address length"),
        *_fields("u4", "prot mmap_flags"),
        *_fields("i4", "fd number"),
        *_fields("u8", "offset first step count stride"),
        ("value", "i8"),
    ],
    align=True,
)
PLACEMENT = np.dtype(
    [("cpus", "u8", (MASK_WORDS,)), ("nodes", "u8", (MASK_WORDS,)), ("set_cpus", "i4"), ("mode", "i4")], align=True
)
PHASE_RESULT = np.dtype(
    _fields("i8", "start_ns duration_ns minor_faults major_faults error failed_op signal sequence"), align=True
)
OP_RESULT = np.dtype(
    [*_fields("i4", "error signal"), *_fields("i8", "value duration_ns"), ("address", "u8")], align=True
)
RECORD_HEAD = np.dtype(
    [
        ("index", "u4"),
        ("pid", "i4"),
        ("program", "u4"),
        *_fields("i4", "placement child_pid"),
        *_fields("u4", "child_turn child_done"),
        ("tid_word", "i4"),
        ("unused", "i8", (4,)),
    ],
    align=True,
)
