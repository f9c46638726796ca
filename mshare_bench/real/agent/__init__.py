"""The C agent: its sources, how it is compiled, what it can be told, and the memory through which it is told."""

__all__ = [
    "Advise",
    "AttachSegment",
    "Binding",
    "Checksum",
    "Exec",
    "Exit",
    "Fork",
    "Join",
    "Map",
    "Op",
    "Program",
    "Protect",
    "Spawn",
    "Touch",
    "Unmap",
    "agent_path",
    "checksum",
]

from mshare_bench.real.agent.image import Binding
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.agent.ops import (
    Advise,
    AttachSegment,
    Checksum,
    Exec,
    Exit,
    Fork,
    Join,
    Map,
    Op,
    Program,
    Protect,
    Touch,
    Unmap,
    checksum,
)
from mshare_bench.real.agent.protocol import Spawn
