"""The operations of a history: plain frozen values that print as Python, so that a failing history is a script."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mshare_bench.sim.semantics.state import Config, Credentials

__all__ = [
    "Advise",
    "AdviseInside",
    "Attach",
    "Create",
    "CreateFile",
    "Detach",
    "Exec",
    "Exit",
    "Fork",
    "KsmScan",
    "Map",
    "MapInside",
    "Migrate",
    "NumaScan",
    "Op",
    "Pin",
    "Protect",
    "ProtectInside",
    "PunchFile",
    "Resize",
    "Spawn",
    "Touch",
    "Unlink",
    "Unmap",
    "UnmapInside",
    "Unpin",
    "WriteFile",
    "script",
]


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all operations. Addresses, lengths and offsets are bytes; `prot` is `none`, `r` or `rw`."""


@dataclass(frozen=True, slots=True)
class Spawn(Op):
    """A new process with an empty address space."""

    pid: int
    credentials: Credentials = field(default_factory=Credentials)
    cpu: int = 0


@dataclass(frozen=True, slots=True)
class Fork(Op):
    """fork; with `share_mm` clone(CLONE_VM): a process of its own on the same address space."""

    pid: int
    child: int
    cpu: int = 0
    share_mm: bool = False


@dataclass(frozen=True, slots=True)
class Exec(Op):
    """execve: the process goes on with an empty address space."""

    pid: int


@dataclass(frozen=True, slots=True)
class Exit(Op):
    """The process ends, by itself or killed."""

    pid: int


@dataclass(frozen=True, slots=True)
class CreateFile(Op):
    """A backing: `memfd`, `sysv`, `file` (a page cache with write notification) or `hugetlb` (2 MiB pages)."""

    pid: int
    name: str
    kind: str
    size: int
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class WriteFile(Op):
    """write(2): every page of the range is in the page cache afterwards and its first byte is `value`."""

    pid: int
    name: str
    offset: int
    length: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class PunchFile(Op):
    """fallocate(PUNCH_HOLE) on whole pages: they leave the page cache and every mapping."""

    pid: int
    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Unlink(Op):
    """The name of a file or a domain goes (for a memfd: its last descriptor); mappings stay."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Map(Op):
    """mmap at a fixed address: of a file, or anonymous. Without `replace` an overlap is EEXIST, with it it is unmapped."""

    pid: int
    address: int
    length: int
    name: str | None = None
    offset: int = 0
    prot: str = "rw"
    shared: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Unmap(Op):
    """munmap."""

    pid: int
    address: int
    length: int


@dataclass(frozen=True, slots=True)
class Protect(Op):
    """mprotect."""

    pid: int
    address: int
    length: int
    prot: str


@dataclass(frozen=True, slots=True)
class Advise(Op):
    """madvise: `dontneed`, `hugepage`, `nohugepage`, `mergeable`, `unmergeable`, `dontdump`, `dodump`."""

    pid: int
    address: int
    length: int
    advice: str


@dataclass(frozen=True, slots=True)
class Touch(Op):
    """Access one byte at `address` and after every `step` bytes within `length`: read it, or write `value`.

    A read returns the bytes seen. A signal ends the process.
    """

    pid: int
    address: int
    length: int = 1
    write: bool = False
    value: int = 0
    step: int = 4096


@dataclass(frozen=True, slots=True)
class Pin(Op):
    """Get a long-term reference on a page through its address (GUP): O_DIRECT, RDMA, process_vm_readv."""

    pid: int
    address: int
    write: bool = False


@dataclass(frozen=True, slots=True)
class Unpin(Op):
    """Drop every pin of the process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Migrate(Op):
    """move_pages of one page; `every_mapper` is MPOL_MF_MOVE_ALL (CAP_SYS_NICE)."""

    pid: int
    address: int
    node: int
    every_mapper: bool = False


@dataclass(frozen=True, slots=True)
class KsmScan(Op):
    """KSM scans until nothing changes any more."""


@dataclass(frozen=True, slots=True)
class NumaScan(Op):
    """NUMA balancing marks the process's pages, so that the next touch of each tells where it is used."""

    pid: int


@dataclass(frozen=True, slots=True)
class Create(Op):
    """Create a domain (with the flag: the memfd that is to be mapped with it)."""

    pid: int
    name: str
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class Resize(Op):
    """Give the domain its size: once, a multiple of the unit."""

    pid: int
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class MapInside(Op):
    """Map memory inside the domain, for all that attach: anonymous (`file` None) or of a file."""

    pid: int
    name: str
    offset: int
    length: int
    prot: str = "rw"
    shared: bool = True
    fixed: bool = True
    file: str | None = None
    file_offset: int = 0


@dataclass(frozen=True, slots=True)
class UnmapInside(Op):
    """Unmap memory inside the domain, for all."""

    pid: int
    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ProtectInside(Op):
    """Protect memory inside the domain, for all (`mshare_protect` of the 2026 redesign)."""

    pid: int
    name: str
    offset: int
    length: int
    prot: str


@dataclass(frozen=True, slots=True)
class AdviseInside(Op):
    """Advise on memory inside the domain, for all (`mshare_advise` of the 2026 redesign)."""

    pid: int
    name: str
    offset: int
    length: int
    advice: str


@dataclass(frozen=True, slots=True)
class Attach(Op):
    """Map the whole domain into the process at `address`. `length` None is its size; `shared` False is MAP_PRIVATE."""

    pid: int
    name: str
    address: int
    prot: str = "rw"
    length: int | None = None
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Detach(Op):
    """Unmap the window that covers `address`, whole."""

    pid: int
    address: int


def script(history: Iterable[Op], config: Config | None = None) -> str:
    """Write a history as a Python program that replays it, checks after each step, and prints what came of it."""
    lines = [f"    {op!r}," for op in history]
    settings = "" if config is None or config == Config() else _arguments(config)
    return "\n".join(
        [
            "from mshare_bench.sim.semantics import *",
            "",
            f"machine = Machine(Config({settings}))",
            "history = [",
            *lines,
            "]",
            "for op in history:",
            "    print(op, '->', machine.apply(op))",
            "    check(machine)",
            "",
        ]
    )


def _arguments(config: Config) -> str:
    plain = Config()
    changed = {
        name: getattr(config, name) for name in Config.__slots__ if getattr(config, name) != getattr(plain, name)
    }
    # The enumerations are written as the strings that they are.
    return ", ".join(
        f"{name}={repr(str(value)) if isinstance(value, str) else repr(value)}" for name, value in changed.items()
    )
