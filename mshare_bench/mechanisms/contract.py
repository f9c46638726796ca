"""What a mechanism is: its *traits*, read by the simulator, and its *recipe*, read by the real engine.

A mechanism is one file in this folder: a frozen dataclass whose fields are its options (`mechanism.<option>=`), registered
with `@mechanism`; and one YAML of the same name in `conf/mechanism/`. Others arrive through the entry-point group
`mshare_bench.mechanisms`.
"""

import abc
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.units import KIB, format_size
from mshare_bench.domain.workload import Placed
from mshare_bench.errors import ConfigError

__all__ = ["FAULT_AROUND", "Backing", "Extent", "Mechanism", "Recipe", "Traits", "memfd", "whole"]

FAULT_AROUND = 64 * KIB
"""Bytes that a read fault of present page-cache data maps (Linux `fault_around_bytes`, default)."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How a stretch of a region is mapped.

    Attributes
    ----------
    start, length
        Bytes, from the start of the region.
    page
        Bytes that one leaf entry maps, and that one fault fills.
    window
        Bytes, aligned in virtual address, that a *read* fault of data that is present maps (fault-around); `page` without.
    shared
        Levels whose tables are one for all who map the region, in this extent.
    deposit
        Whether the kernel sets a PTE page aside per huge leaf, to split it later (anonymous THP).
    fill
        Bytes, aligned in virtual address, that *any* fault of a process maps, present or not; 0: what `page` and `window` say.
    """

    start: int
    length: int
    page: int
    window: int
    shared: frozenset[Level] = frozenset()
    deposit: bool = False
    fill: int = 0


@dataclass(frozen=True, slots=True)
class Traits:
    """What the simulator must know of a mechanism beyond its extents.

    Attributes
    ----------
    data
        `shared`: one copy for all; `private`: a copy per process (anonymous memory); `copy_on_write`: one copy until a
        process writes a page, then its own copy of that page.
    one_mm
        All processes run on one address space: one set of tables, each fault taken once for all.
    inherited
        None: each process maps by itself. Otherwise a parent maps and touches, then forks: `refault` (nothing is copied and
        the child faults again), `copied` (the child gets copies of the parent's tables) or `shared` (it shares them until it
        writes: COW-PTE).
    link
        Bytes of address space that one linking fault attaches (shared tables); 0 where nothing is linked.
    host
        The shared tables hang in an address space of the kernel's own, which has upper tables too.
    window
        Bytes of address space that can only be mapped whole (msharefs: 512 GiB); 0: any number of pages.
    flush
        Whose TLBs are flushed when an entry of a table that sharers link changes: `all` CPUs, the sharers' CPUs at once
        (`cpumask`), or the sharers one after the other (`list`).
    protectable
        Whether a process may `mprotect` what it has mapped.
    metadata_per_page
        Bytes kept beside every touched page (KSM's rmap items).
    merged
        Equal private pages are merged afterwards, so many mappings to a frame at most; 0: not merged.
    resident
        Its data is in memory before anybody touches it, whatever `populate` says (a file's page cache).
    basis
        What the rows are: `exact`, `conditioned` or `hypothetical`.
    retried
        A child's first fault on what it inherits is tried twice, which the kernel counts as a major fault, not a minor one.
    accounted
        Where tables are shared at fork: whether the child's counters and references to pages are kept from the start.
    advices
        Unit cost of each `madvise` that attaching takes, in order.
    split_every
        Bytes from one split of the mapping to the next while it is attached; 0 for none.
    paths
        (usual name, own name) of unit costs: where the kernel takes another path than for shared memory's base pages.
    """

    data: Literal["shared", "private", "copy_on_write"] = "shared"
    one_mm: bool = False
    inherited: Literal["refault", "copied", "shared"] | None = None
    link: int = 0
    host: bool = False
    window: int = 0
    flush: Literal["all", "cpumask", "list"] = "all"
    protectable: bool = True
    metadata_per_page: int = 0
    merged: int = 0
    resident: bool = False
    basis: Literal["exact", "conditioned", "hypothetical"] = "exact"
    retried: bool = False
    accounted: bool = False
    advices: tuple[str, ...] = ()
    split_every: int = 0
    paths: tuple[tuple[str, str], ...] = ()


@dataclass
class Backing:
    """What a real region is made of: an open file to map, a System V segment, or (neither) anonymous memory.

    Closing it gives everything back; nothing of it is left in any name space while it is in use.

    Attributes
    ----------
    fd, shmid
        File to map, or segment to attach; -1 for none.
    offset
        Where in the file the region starts, bytes.
    map_length
        Bytes that a process must map to attach; 0: as many as the region has.
    data_fd
        File to write the data to beforehand without any mapping; -1: it is written through a mapping.
    mapped_only
        Whether `fd` can be mapped and nothing else (a device).
    """

    fd: int = -1
    shmid: int = -1
    offset: int = 0
    map_length: int = 0
    data_fd: int = -1
    mapped_only: bool = False

    def held_table_bytes(self) -> int:
        """Bytes of page tables that are its own and no process's, where it can tell; 0 where tables are the processes'."""
        return 0

    def held_bytes(self) -> int | None:
        """Bytes of data that it holds now; None where it can't tell."""
        fd = self.data_fd if self.data_fd >= 0 else self.fd
        return os.fstat(fd).st_blocks * 512 if fd >= 0 else None

    def close(self) -> None:
        """Give it back; processes that have it mapped keep it until they end."""
        for fd in {self.fd, self.data_fd} - {-1}:
            os.close(fd)
        self.fd = self.data_fd = -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """The system calls that set a real region up.

    Attributes
    ----------
    flags
        `mmap` flags besides MAP_FIXED_NOREPLACE.
    advice
        `madvise` calls on the whole mapping right after it, in order.
    advise_splits
        (byte offset, length, advice) of `madvise` calls on parts of the mapping.
    spawn
        `fork`: an address space each; `clone_vm`: processes on one; `thread`: threads of one process.
    inherited
        Mapped and touched by the parent before it forks the processes.
    knobs
        Kernel knobs that must have these values meanwhile (journalled, put back): `{"shmem_enabled": "advise"}`.
    needs
        Name of something that only trying tells (`real/probes.py`); empty for nothing.
    protectable
        Whether `mprotect` of the mapping is allowed.
    merge
        Wait until KSM has scanned and merged everything before the counters are read.
    hugepages
        Size in bytes of the preallocated huge pages that it needs, one per that many bytes of the region; 0 for none.
    """

    flags: int
    advice: tuple[int, ...] = ()
    advise_splits: tuple[tuple[int, int, int], ...] = ()
    spawn: Literal["fork", "clone_vm", "thread"] = "fork"
    inherited: bool = False
    needs: str = ""
    protectable: bool = True
    merge: bool = False
    knobs: Mapping[str, str] = field(default_factory=dict)
    hugepages: int = 0


@dataclass(frozen=True)
class Mechanism(abc.ABC):
    """A way for processes to share memory. Fields of the subclass are its options, with their defaults."""

    name: ClassVar[str]
    summary: ClassVar[str]
    color: ClassVar[str]
    """Its colour in every figure and in the MLflow UI, `#rrggbb`; colour-blind safe beside the others."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Build from configuration values.

        Raises
        ------
        ConfigError
            For an option that does not exist or a value that it can't have.
        """
        known = {one.name: one for one in dataclasses.fields(cls)}
        for key, value in options.items():
            if key not in known:
                have = ", ".join(known) or "no options"
                raise ConfigError(f"mechanism.{key}={value}: {cls.name} has {have}")
            choices = known[key].metadata.get("choices")
            if choices is not None and value not in choices:
                raise ConfigError(f"mechanism.{key}={value}: {cls.name} has {', '.join(map(str, choices))}")
            kind = type(known[key].default)
            if choices is None and not isinstance(value, kind):
                raise ConfigError(f"mechanism.{key}={value}: must be {kind.__name__}")
        return cls(**options)

    @property
    def variant(self) -> str:
        """Its options as `k=v;k=v`, in order of their names; those at their defaults are left out."""
        fields = sorted(dataclasses.fields(self), key=lambda one: one.name)
        pairs = ((one.name, getattr(self, one.name)) for one in fields if getattr(self, one.name) != one.default)
        return ";".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in pairs)

    def page_sizes(self, geometry: Geometry) -> tuple[int, ...]:
        """Page sizes that it can use, its default first."""
        return (geometry.page,)

    def resolve_page(self, page: int | None, geometry: Geometry) -> int:
        """Return the page size asked for, or its own default.

        Raises
        ------
        ConfigError
            When the mechanism has no page of that size.
        """
        have = self.page_sizes(geometry)
        if page is not None and page not in have:
            sizes = ", ".join(format_size(size).replace(" ", "") for size in have)
            raise ConfigError(f"page={format_size(page).replace(' ', '')}: {self.name} has {sizes}")
        return have[0] if page is None else page

    def check(self, placed: Placed, page: int) -> None:
        """Say no to a region that it can't map: the default wants whole pages.

        Raises
        ------
        ConfigError
            Naming the key and the value.
        """
        if placed.region.size % page:
            size, unit = placed.region.size, format_size(page).replace(" ", "")
            raise ConfigError(f"region={size}: not a multiple of the page, {unit}, that {self.name} maps")

    @property
    @abc.abstractmethod
    def traits(self) -> Traits:
        """What the simulator must know."""

    @abc.abstractmethod
    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """How the region at its address is mapped: adjoining extents that cover it, in ascending order."""

    @abc.abstractmethod
    def recipe(self, placed: Placed, page: int) -> Recipe:
        """How to set it up for real.

        Raises
        ------
        CapabilityError
            When it can't be had for real, or not here; probing is by behaviour.
        """

    def open(self, size: int, page: int) -> Backing:
        """Make what a real region of that many bytes is made of; the default is a memfd."""
        return memfd(size, self.name)


def whole(
    placed: Placed, page: int, window: int | None = None, shared: frozenset[Level] = frozenset()
) -> tuple[Extent, ...]:
    """One extent over all of the region."""
    return (Extent(0, placed.region.size, page, window or page, shared),)


def memfd(size: int, name: str, flags: int = 0) -> Backing:
    """Make an anonymous file in memory of that size."""
    fd = os.memfd_create(f"mshare-bench-{name}", os.MFD_CLOEXEC | flags)
    try:
        os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return Backing(fd=fd)
