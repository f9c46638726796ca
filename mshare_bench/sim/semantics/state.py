"""What the modelled machine is made of: frames, page tables, VMAs, address spaces, processes, backings, domains.

Plain data, no rules: the rules are the functions of the sibling modules. Identity matters everywhere (two frames with the
same fields are two frames), so these classes compare by identity.
"""

import enum
import errno
import itertools
import signal as signals
from dataclasses import dataclass, field

from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.units import KIB

__all__ = [
    "AddressSpace",
    "AnonGroup",
    "Backing",
    "Config",
    "Credentials",
    "Domain",
    "Flush",
    "FlushCount",
    "Frame",
    "FrameKind",
    "Interface",
    "Leaf",
    "Link",
    "MachineState",
    "Outcome",
    "Process",
    "Refused",
    "Sharing",
    "Signalled",
    "Table",
    "Vma",
    "Window",
]


class Interface(enum.StrEnum):
    """The ways to ask for shared page tables; what each means is told in `docs/semantics.md`."""

    MSHAREFS = "msharefs"
    FLAG = "flag"
    IDEAL = "ideal"


class Flush(enum.StrEnum):
    """Whose TLBs are flushed when an entry of a shared table changes."""

    ALL = "all"
    CPUMASK = "cpumask"
    LIST = "list"


class FrameKind(enum.StrEnum):
    """What a physical page holds."""

    ANON = "anon"
    CACHE = "cache"
    KSM = "ksm"
    ZERO = "zero"


class Sharing(enum.StrEnum):
    """Why a table may have more than one parent, and so who may change it in place.

    `none`: one parent. `cow`: left behind by fork, copied by whoever changes it first. `domain`: the domain changes it,
    for all. `hugetlb`: any sharer changes it, for all (PMD sharing).
    """

    NONE = "none"
    COW = "cow"
    DOMAIN = "domain"
    HUGETLB = "hugetlb"


@dataclass(frozen=True, slots=True)
class Config:
    """What the modelled kernel does where designs differ.

    Attributes
    ----------
    interface, flush, strict_permissions
        Of mshare. `strict_permissions=False` is what the posted v3 series does: protection is checked on the domain's own
        mapping only, and the root folder has no sticky bit.
    fork_tables
        `copied` (every stock kernel) or `shared` (COW-PTE: fork shares the PTE pages of private anonymous memory).
    thp, shmem_thp
        `never`, `madvise` (`advise` for shmem) or `always`: when a 2 MiB page is tried.
    fault_around
        Bytes that a read fault on cached file pages maps at once.
    pt_reclaim
        Whether MADV_DONTNEED frees a PTE page that it emptied whole (CONFIG_PT_RECLAIM, in v6.14).
    cpus, geometry
        The machine.
    ksm_max_page_sharing
        Mappings of one merged page, at most (`/sys/kernel/mm/ksm/max_page_sharing`).
    """

    interface: Interface = Interface.MSHAREFS
    flush: Flush = Flush.ALL
    strict_permissions: bool = True
    fork_tables: str = "copied"
    thp: str = "madvise"
    shmem_thp: str = "never"
    fault_around: int = 64 * KIB
    pt_reclaim: bool = True
    cpus: int = 4
    geometry: Geometry = X86_64
    ksm_max_page_sharing: int = 256


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a process is: kernel-global ids, namespaces, capabilities and the memory cgroup it is charged to.

    Capabilities count in the namespace `user_ns` and, when that is `init`, in every one below it.
    """

    uid: int = 0
    gid: int = 0
    user_ns: str = "init"
    mount_ns: str = "init"
    memcg: str = "/"
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation came to: a value (the bytes that a read saw), an errno, or the signal that killed the process."""

    value: bytes | None = None
    errno: int = 0
    signal: int = 0

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return not self.errno and not self.signal

    def __str__(self) -> str:
        if self.errno:
            return errno.errorcode[self.errno]
        if self.signal:
            return signals.Signals(self.signal).name
        return "ok" if self.value is None else f"ok {self.value.hex()}"


class Refused(Exception):
    """A rule refused the operation: the errno is the whole message. It never leaves `Machine.apply`."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


class Signalled(Exception):
    """An access raised a signal. It never leaves `Machine.apply`."""

    def __init__(self, number: int = signals.SIGSEGV) -> None:
        super().__init__(signals.Signals(number).name)
        self.signal = number


@dataclass(slots=True, eq=False)
class Frame:
    """Physical memory that is allocated and freed as one: a base page, or the 512 of a huge one.

    `refs` counts the entries that point to it (an entry of a shared table once), the page cache, and pins.
    """

    number: int
    kind: FrameKind
    memcg: str
    pages: int = 1
    refs: int = 0
    pins: int = 0
    node: int = 0


@dataclass(slots=True, eq=False)
class Leaf:
    """A page-table entry that maps a page: a base page in a PTE table, a huge one in a PMD table.

    `sub` is the first base page of the frame that it maps. `exclusive` is PageAnonExclusive: no one else can see this
    anonymous page, so a write needs no copy. `hint` is a NUMA hinting entry: present, but the next touch faults.
    `deposit` is the PTE table kept ready under an anonymous huge page.
    """

    frame: Frame
    readable: bool
    writable: bool
    exclusive: bool = False
    sub: int = 0
    hint: bool = False
    deposit: "Table | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A page-table entry that points to a lower table; without `writable` nothing below it can be written."""

    table: "Table"
    writable: bool = True


@dataclass(slots=True, eq=False)
class Table:
    """One page of page-table entries. `refs` counts its parents (and the huge entry that it is deposited under)."""

    level: int
    owner: "AddressSpace | None"
    memcg: str
    slots: dict[int, "Link | Leaf"] = field(default_factory=dict)
    refs: int = 0
    sharing: Sharing = Sharing.NONE


@dataclass(slots=True, eq=False)
class Backing:
    """An object whose pages a mapping shows: `memfd`, `sysv`, `file` or `hugetlb`; its cache maps page index to (frame, sub).

    `refs` counts its name (or open descriptor) and the VMAs that map it; `mappers` lists these in the order in which the
    kernel meets them.
    """

    name: str
    kind: str
    size: int
    credentials: Credentials
    mode: int = 0o600
    refs: int = 1
    linked: bool = True
    pages: dict[int, tuple[Frame, int]] = field(default_factory=dict)
    mappers: "list[tuple[AddressSpace, Vma]]" = field(default_factory=list)


class AnonGroup:
    """A kernel `anon_vma`: VMAs that share one can merge again. It has an identity and nothing else."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Vma:
    """A range of an address space with one backing, one protection, one set of advice.

    `anon` is set by the first write fault of a private mapping; `inherited` says that a fork handed it down. `window` is the
    domain when the range is a window on one; then the range has no entries of its own. Without `may_write` mprotect cannot make
    it writable (a segment attached read-only).
    """

    start: int
    end: int
    readable: bool
    writable: bool
    shared: bool
    backing: Backing | None
    offset: int
    advice: frozenset[str] = frozenset()
    anon: AnonGroup | None = None
    inherited: bool = False
    window: "Domain | None" = None
    may_write: bool = True

    def position(self, address: int) -> int:
        """Byte of the backing that `address` shows."""
        return address - self.start + self.offset


@dataclass(slots=True, eq=False)
class AddressSpace:
    """An mm: VMAs sorted by address, the root table, the processes that use it, the CPUs that may hold its translations.

    A domain has one too (the kernel's host mm), with no process on it.
    """

    number: int
    memcg: str
    root: Table
    vmas: list[Vma] = field(default_factory=list)
    users: int = 0
    cpus: set[int] = field(default_factory=set)
    domain: "Domain | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One attachment of a domain: where it lies in which address space."""

    space: AddressSpace
    vma: Vma


@dataclass(slots=True, eq=False)
class Domain:
    """A region whose page tables are shared.

    `owner` is the process that created it, or None where there is none or it is gone. `address` is where the domain's own
    address space has the region; with the flag every window must be at the same place, and `backing` is the file.
    """

    name: str
    space: AddressSpace
    credentials: Credentials
    mode: int
    owner: int | None
    size: int | None = None
    address: int = 0
    linked: bool = True
    torn_down: bool = False
    backing: Backing | None = None
    windows: list[Window] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Process:
    """A process: who it is, its address space, the CPU it runs on, what it counted and what it pinned."""

    pid: int
    credentials: Credentials
    space: AddressSpace
    cpu: int
    minor_faults: int = 0
    linking_faults: int = 0
    pins: list[Frame] = field(default_factory=list)


@dataclass(slots=True)
class FlushCount:
    """TLB flushes so far: how many were ordered, how many CPUs they reached, how many sharers a list walk visited.

    `interrupts` are those of the CPUs that had to be interrupted: all but the one that ordered the flush.
    """

    rounds: int = 0
    cpus: int = 0
    visited: int = 0
    interrupts: int = 0


class MachineState:
    """Everything there is. Registries hold what is alive; what is freed leaves them, so that a dangling reference shows.

    `coverage` and `entries` have, by level of table, the bytes that one entry covers and how many there are; the root's come
    last. `tlb` has for each CPU and address space (by number: x86 tags entries per space, so spaces never share one) the
    translations that the CPU may use: page number -> (frame, sub, readable, writable). `contents` has the first byte of each
    base page that is not zero. `cpu` is where the current operation runs (KSM's thread: nowhere). `charges` counts pages per
    memory cgroup: (memcg, "tables" or "data") -> pages.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        geometry = self.config.geometry
        self.coverage = (geometry.page, *geometry.spans)
        sizes = (*self.coverage, geometry.address_space)
        self.entries = tuple(larger // smaller for smaller, larger in itertools.pairwise(sizes))
        self.processes: dict[int, Process] = {}
        self.spaces: dict[int, AddressSpace] = {}
        self.tables: set[Table] = set()
        self.frames: dict[int, Frame] = {}
        self.backings: set[Backing] = set()
        self.files: dict[str, Backing] = {}
        self.domains: set[Domain] = set()
        self.names: dict[tuple[str, str], Domain] = {}
        self.tlb: list[dict[int, dict[int, tuple[Frame, int, bool, bool]]]] = [{} for _ in range(self.config.cpus)]
        self.contents: dict[tuple[int, int], int] = {}
        self.charges: dict[tuple[str, str], int] = {}
        self.flushes = FlushCount()
        self.cpu: int | None = None
        self.spaces_made = 0
        self.frames_made = 0
        # The zero pages belong to nobody: not counted, not charged, never freed.
        self.zero = Frame(-1, FrameKind.ZERO, "")
        self.huge_zero = Frame(-2, FrameKind.ZERO, "", pages=self.config.geometry.spans[0] // self.config.geometry.page)
        self.metadata_items = 0
