"""What can be read off a machine: the figures that the kernel's own counters show, and where the kernel has none, the truth."""

from dataclasses import dataclass

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import ksm
from mshare_bench.sim.semantics.state import AddressSpace, FrameKind, Link, MachineState, Process, Sharing, Table

__all__ = [
    "Faults",
    "data_bytes",
    "fault_counts",
    "general_profit",
    "ksm_pages",
    "ksm_rmap_bytes",
    "memcg_bytes",
    "own_tables",
    "page_tables",
    "page_tables_bytes",
    "snapshot",
    "vm_pte",
]


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of one process: `minor` is its ru_minflt, `linking` the faults that did nothing but link a shared table.

    In a window `linking` faults come on top of `minor`; a hugetlb fault that links is in both.
    """

    minor: int
    linking: int


def own_tables(machine: MachineState, space: AddressSpace) -> dict[Level, int]:
    """Tables that the kernel counts for an mm, by level, deposited ones too.

    A domain's tables are not among them; PMD tables shared by hugetlb are, for each sharer; of tables that fork shared
    (COW-PTE) those that the space still owns.
    """
    counts = dict.fromkeys(machine.config.geometry.counted_levels, 0)
    _count(space, space.root, counts)
    return counts


def _count(space: AddressSpace, table: Table, counts: dict[Level, int]) -> None:
    for entry in table.slots.values():
        if not isinstance(entry, Link):
            counts[Level.PTE] += entry.deposit is not None
            continue
        if entry.table.owner is space or entry.table.sharing is Sharing.HUGETLB:
            counts[Level(entry.table.level)] += 1
        if entry.table.sharing is not Sharing.DOMAIN or entry.table.owner is space:
            _count(space, entry.table, counts)


def vm_pte(machine: MachineState, pid: int) -> int:
    """VmPTE of a process in bytes, over the base of an empty one."""
    return sum(own_tables(machine, _process(machine, pid).space).values()) * machine.config.geometry.page


def page_tables(machine: MachineState) -> dict[Level, int]:
    """All page-table pages by level, a shared one once: what `PageTables` of /proc/meminfo counts."""
    counts = dict.fromkeys(machine.config.geometry.counted_levels, 0)
    for table in machine.tables:
        counts[Level(table.level)] += 1
    return counts


def page_tables_bytes(machine: MachineState) -> int:
    """Bytes of all page-table pages, a shared one once."""
    return len(machine.tables) * machine.config.geometry.page


def data_bytes(machine: MachineState) -> int:
    """Bytes of all frames in use, the zero pages left out."""
    return sum(frame.pages for frame in machine.frames.values()) * machine.config.geometry.page


def ksm_rmap_bytes(machine: MachineState) -> int:
    """Bytes of rmap items that KSM kept at its last scan."""
    return machine.metadata_items * ksm.RMAP_ITEM_BYTES


def ksm_pages(machine: MachineState) -> tuple[int, int]:
    """`pages_shared` and `pages_sharing`: merged frames, and the further mappings that each of them saves a frame."""
    merged = [frame for frame in machine.frames.values() if frame.kind is FrameKind.KSM]
    return len(merged), sum(frame.refs - 1 for frame in merged)


def general_profit(machine: MachineState) -> int:
    """KSM's own figure: bytes of frames saved less bytes of rmap items (Documentation/admin-guide/mm/ksm.rst)."""
    return ksm_pages(machine)[1] * machine.config.geometry.page - ksm_rmap_bytes(machine)


def memcg_bytes(machine: MachineState, memcg: str, what: str) -> int:
    """Bytes of `tables` or `data` that a memory cgroup is charged for."""
    return machine.charges.get((memcg, what), 0) * machine.config.geometry.page


def fault_counts(machine: MachineState, pid: int) -> Faults:
    """Faults of a process so far, over its exec too."""
    process = _process(machine, pid)
    return Faults(process.minor_faults, process.linking_faults)


def snapshot(machine: MachineState) -> tuple[object, ...]:
    """Everything that an operation could change, as a value: equal before and after a refused one."""
    spaces = [
        (
            space.number,
            space.users,
            sorted(space.cpus),
            [(v.start, v.end, v.readable, v.writable, v.shared, v.offset, sorted(v.advice)) for v in space.vmas],
            _shape(space.root),
        )
        for space in machine.spaces.values()
    ]
    domains = sorted((d.name, d.mode, d.owner or 0, d.size or 0, d.linked, len(d.windows)) for d in machine.domains)
    processes = [
        (p.pid, p.space.number, p.minor_faults, p.linking_faults, len(p.pins)) for p in machine.processes.values()
    ]
    files = [
        (f.name, f.size, f.refs, sorted((i, x.number, s) for i, (x, s) in f.pages.items())) for f in machine.backings
    ]
    frames = sorted((f.number, f.kind, f.refs, f.node) for f in machine.frames.values())
    return (
        spaces,
        domains,
        processes,
        sorted(files),
        frames,
        sorted(machine.contents.items()),
        sorted(machine.charges.items()),
        machine.flushes.rounds,
        len(machine.tables),
    )


def _shape(table: Table) -> tuple[object, ...]:
    return tuple(
        (at, entry.writable, _shape(entry.table))
        if isinstance(entry, Link)
        else (at, entry.frame.number, entry.readable, entry.writable, entry.exclusive, entry.hint)
        for at, entry in sorted(table.slots.items())
    )


def _process(machine: MachineState, pid: int) -> Process:
    return machine.processes[pid]
