"""What an audit found, and the two Arrow tables that other tools read.

Bytes of tables add up: the tables of the objects, private memory and the unattributed rest among them, are the sum of
``VmPTE`` over the address spaces; so are the rows of the processes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from mshare_bench.results.columns import column

__all__ = ["Audit", "AuditedProcess", "CgroupShare", "Cost", "SharedObject", "Unread"]

_TYPES = {"str": pa.string(), "int": pa.int64()}

# name: type unit better description
_OBJECTS = """
object: str - none What is mapped: a path, or a name that the kernel gives it
kind: str - none memfd, sysv, anonymous (shared), tmpfs, file, private_file, hugetlb, device, mshare; private, unattributed
mappers: int count none Address spaces that map it
mapped_bytes: int B none Bytes of its mappings, over all address spaces
table_bytes: int B lower Page-table pages put down to it, over all address spaces; a table belongs to its lowest mapping
once_bytes: int B lower What they would be if each table were there once
duplicated_bytes: int B lower table_bytes less once_bytes, less what the kernel shares already; null where nothing can tell
saved_mshare_bytes: int B higher What a shared mshare window would save; null where it can't hold the object
saved_hugetlb_bytes: int B higher What hugetlb pages would save, mapped where the object is now; null where it can't be in them
"""

_PROCESSES = """
pid: int - none Process; the lowest pid of those that share the address space
comm: str - none Its name
vmpte_bytes: int B lower Page-table pages of its address space by the kernel's count (VmPTE)
attributed_bytes: int B none Of these, tables that a page of a mapping was found in
unattributed_bytes: int B none The rest: empty tables, mappings that the kernel hides, a process that could not be read
"""


@dataclass(frozen=True, slots=True)
class SharedObject:
    """Something that is mapped, and what its page tables cost.

    Attributes
    ----------
    object, kind, mappers, mapped_bytes, table_bytes, once_bytes, duplicated_bytes
        As in the table, see `Audit.objects_table`.
    kernel_shared_bytes
        Of `table_bytes`, what is counted to several processes but there once: PMD tables of hugetlb memory.
    kernel_shared_basis
        `measured` (from the frames' map counts), `deduced` (from the kernel's conditions), or None where there is none.
    saved_mshare_bytes
        By a msharefs window: all levels once, whoever attaches.
    saved_flag_bytes
        By the MAP_SHARED_PT flag, PTE tables only, **as it is mapped now**: whole tables at equal addresses.
    saved_flag_aligned_bytes
        The same if every process mapped it at one address that is a multiple of 2 MiB.
    saved_hugetlb_bytes, saved_thp_bytes
        By hugetlb pages, and by transparent huge pages of shared memory, where it is mapped now.
    reserve_bytes
        Huge pages to set aside for the populated parts; the price of hugetlb.
    advice
        Alignment and protection: what stands in the way of sharing, in words.
    names
        Under how many names it was met (overlay mounts of one file).
    """

    object: str
    kind: str
    mappers: int
    mapped_bytes: int
    table_bytes: int
    once_bytes: int
    duplicated_bytes: int | None
    kernel_shared_bytes: int = 0
    kernel_shared_basis: str | None = None
    saved_mshare_bytes: int | None = None
    saved_flag_bytes: int | None = None
    saved_flag_aligned_bytes: int | None = None
    saved_hugetlb_bytes: int | None = None
    saved_thp_bytes: int | None = None
    reserve_bytes: int | None = None
    advice: tuple[str, ...] = ()
    names: int = 1


@dataclass(frozen=True, slots=True)
class AuditedProcess:
    """One address space.

    Attributes
    ----------
    pid, comm, vmpte_bytes, attributed_bytes, unattributed_bytes
        As in the table, see `Audit.processes_table`. `unattributed_bytes` is negative where the process shrank while it
        was read.
    private_bytes
        Of the attributed bytes, those of private memory.
    duplicated_bytes
        Its share of the tables that are there more than once.
    deduced_bytes
        Of the attributed bytes, tables of mappings that the kernel hides, which explain the rest exactly.
    pids
        All processes that share the address space, this one among them.
    cgroup
        Path of the cgroup that is charged.
    """

    pid: int
    comm: str
    vmpte_bytes: int
    attributed_bytes: int
    unattributed_bytes: int
    private_bytes: int
    duplicated_bytes: int
    deduced_bytes: int
    pids: tuple[int, ...]
    cgroup: str


@dataclass(frozen=True, slots=True)
class CgroupShare:
    """The address spaces of one cgroup, added up; fields as in `AuditedProcess`."""

    cgroup: str
    address_spaces: int
    vmpte_bytes: int
    attributed_bytes: int
    unattributed_bytes: int
    private_bytes: int
    duplicated_bytes: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A process that could not be read, why, and its ``VmPTE`` where that could be read."""

    pid: int
    comm: str
    reason: str
    vmpte_bytes: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the audit itself took.

    Attributes
    ----------
    seconds, cpu_seconds
        Wall and CPU time.
    read_bytes
        Bytes read from ``/proc``; None where the kernel doesn't count them.
    memory_bytes
        Growth of the peak memory of the process that made it.
    """

    seconds: float
    cpu_seconds: float
    read_bytes: int | None
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What the processes of a host duplicate right now.

    Attributes
    ----------
    objects
        Shared and file-backed objects, most duplicated bytes first.
    private
        All private memory, as one object.
    processes
        Address spaces, by pid.
    cgroups
        Their sums by cgroup, most table bytes first.
    unread
        Processes that could not be read.
    missed
        What could not be found out, in words.
    page_tables_bytes
        ``PageTables`` of the machine right after; None where only some processes were asked for.
    own_bytes
        Page tables of the process that made the audit; it is not among the processes.
    top_bytes
        Top-level tables (PGD), one of each address space, which `VmPTE` leaves out, where ``PageTables`` counts them; else 0.
    without
        Processes without an address space: kernel threads and zombies.
    method
        `PAGEMAP_SCAN` or `pagemap`.
    selection
        What was asked for, in words.
    top
        How many rows of each sort the screen shows.
    table_page_bytes
        Bytes of one table page.
    huge_page_bytes
        Bytes that one PTE table covers.
    memory_bytes
        Memory of the machine.
    has_mshare
        Whether this kernel knows msharefs.
    cost
        What the audit took.
    """

    objects: tuple[SharedObject, ...]
    private: SharedObject
    processes: tuple[AuditedProcess, ...]
    cgroups: tuple[CgroupShare, ...]
    unread: tuple[Unread, ...]
    missed: tuple[str, ...]
    page_tables_bytes: int | None
    own_bytes: int
    top_bytes: int
    without: int
    method: str
    selection: str
    top: int
    table_page_bytes: int
    huge_page_bytes: int
    memory_bytes: int
    has_mshare: bool
    cost: Cost

    @property
    def vmpte_bytes(self) -> int:
        """Page-table pages of all address spaces by the kernel's count."""
        return sum(one.vmpte_bytes for one in self.processes)

    @property
    def unattributed_bytes(self) -> int:
        """Bytes of `vmpte_bytes` that no mapping explains."""
        return sum(one.unattributed_bytes for one in self.processes)

    @property
    def duplicated_bytes(self) -> int:
        """Page-table bytes that would go if every table of a shared object were there once."""
        return sum(one.duplicated_bytes or 0 for one in self.objects)

    @property
    def explained_bytes(self) -> int:
        """What processes have of `page_tables_bytes` by the sums of this audit: its own tables in, shared ones once."""
        shared = sum(one.kernel_shared_bytes for one in self.objects)
        return self.vmpte_bytes + self.own_bytes + self.top_bytes - shared

    @property
    def unattributed(self) -> SharedObject:
        """The unattributed bytes as an object, so that the objects add up to `vmpte_bytes`."""
        rest = [one for one in self.processes if one.unattributed_bytes]
        total = sum(one.unattributed_bytes for one in rest)
        return SharedObject("(unattributed)", "unattributed", len(rest), 0, total, total, None)

    def objects_table(self) -> pa.Table:
        """Objects, then private memory and the unattributed bytes; every field has `unit`, `better`, `description`."""
        return _table(_OBJECTS, "audit_objects", [*self.objects, self.private, self.unattributed])

    def processes_table(self) -> pa.Table:
        """Address spaces by pid; every field has `unit`, `better`, `description`."""
        return _table(_PROCESSES, "audit_processes", self.processes)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        sums = {
            name: getattr(self, name)
            for name in ("vmpte_bytes", "unattributed_bytes", "duplicated_bytes", "explained_bytes")
        }
        return {**sums, **asdict(self)}


@cache
def _schema(text: str, name: str) -> pa.Schema:
    return pa.schema(list(_fields(text)), metadata={"schema_version": "1.0", "table": name})


def _fields(text: str) -> Iterator[pa.Field]:
    for line in text.strip().splitlines():
        name, rest = line.split(": ", 1)
        kind, unit, better, description = rest.split(" ", 3)
        metadata = {"unit": "" if unit == "-" else unit, "better": better, "description": description}
        yield pa.field(name, _TYPES[kind], metadata=metadata)


def _table(text: str, name: str, rows: "list[SharedObject] | tuple[AuditedProcess, ...]") -> pa.Table:
    schema = _schema(text, name)
    columns = [column((getattr(row, field.name) for row in rows), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
