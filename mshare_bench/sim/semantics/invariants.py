"""What must hold after every operation, whatever the history. `check` counts everything anew and compares.

It trusts none of the rules: references, charges and translations are recomputed from what points to what.
"""

from collections import Counter
from collections.abc import Iterator

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    Frame,
    FrameKind,
    Interface,
    Leaf,
    Link,
    MachineState,
    Sharing,
    Table,
    Vma,
)

__all__ = ["Violation", "check", "violations"]


class Violation(AssertionError):
    """An invariant does not hold; the message says which, and where."""


def check(machine: MachineState) -> None:
    """Check every invariant.

    Raises
    ------
    Violation
        With everything that is wrong, one per line.
    """
    wrong = list(violations(machine))
    if wrong:
        raise Violation("\n".join(wrong))


def violations(machine: MachineState) -> Iterator[str]:
    """Everything that is wrong with a machine, as sentences."""
    yield from _references(machine)
    yield from _charges(machine)
    yield from _translations(machine)
    for space in machine.spaces.values():
        yield from _space(machine, space)
    yield from _domains(machine)


def _references(machine: MachineState) -> Iterator[str]:
    """Reference counts equal the number of references; nothing that is freed is referred to; nothing unreferred is kept."""
    table_refs: Counter[Table] = Counter()
    frame_refs: Counter[Frame] = Counter()
    pins: Counter[Frame] = Counter()
    for table in [*machine.tables, *(space.root for space in machine.spaces.values())]:
        for entry in table.slots.values():
            if isinstance(entry, Link):
                table_refs[entry.table] += 1
                if entry.table.level != table.level - 1:
                    yield f"a table of level {table.level} links to one of level {entry.table.level}"
                continue
            frame_refs[entry.frame] += 1
            if entry.deposit is not None:
                table_refs[entry.deposit] += 1
    for backing in machine.backings:
        frame_refs.update(frame for frame, sub in backing.pages.values() if sub == 0)
    for process in machine.processes.values():
        pins.update(process.pins)
    frame_refs += pins
    for frame in [frame for frame in frame_refs if frame.kind is not FrameKind.ZERO]:
        if machine.frames.get(frame.number) is not frame:
            yield f"frame {frame.number} is free and still referred to {frame_refs[frame]} times"
    for frame in machine.frames.values():
        if frame.refs != frame_refs[frame]:
            yield f"frame {frame.number}: {frame.refs} references counted, {frame_refs[frame]} there"
        if frame.refs < 1 or frame.pins != pins[frame]:
            yield f"frame {frame.number}: refs {frame.refs}, pins {frame.pins}, pinned {pins[frame]} times"
    for table in table_refs:
        if table not in machine.tables:
            yield f"a table of level {table.level} is free and still has {table_refs[table]} parents"
    for table in machine.tables:
        if table.refs != table_refs[table] or table.refs < 1:
            yield f"a table of level {table.level}: {table.refs} parents counted, {table_refs[table]} there"
    vmas = Counter(vma.backing for space in machine.spaces.values() for vma in space.vmas if vma.backing is not None)
    for backing in machine.backings | set(vmas):
        named = int(backing.linked)
        if (
            backing.refs != len(backing.mappers) + named
            or len(backing.mappers) != vmas[backing]
            or backing not in machine.backings
        ):
            yield f"backing {backing.name!r}: {backing.refs} references counted, {vmas[backing]} mappings + {named} there"


def _charges(machine: MachineState) -> Iterator[str]:
    """Every page is charged once, to the memory cgroup that it says."""
    charged: Counter[tuple[str, str]] = Counter()
    for table in machine.tables:
        charged[table.memcg, "tables"] += 1
    for frame in machine.frames.values():
        charged[frame.memcg, "data"] += frame.pages
    for key in charged.keys() | machine.charges.keys():
        if charged[key] != machine.charges.get(key, 0):
            yield f"memcg {key[0]}: charged for {machine.charges.get(key, 0)} {key[1]} pages, {charged[key]} there"


def _translations(machine: MachineState) -> Iterator[str]:
    """A TLB holds nothing that the tables would not give, so that no flush was missed."""
    for cpu, spaces in enumerate(machine.tlb):
        for number, held in spaces.items():
            space = machine.spaces.get(number)
            for page, (frame, sub, _, writable) in held.items():
                now = None if space is None else _walk(machine, space, page * machine.config.geometry.page)
                if now is None or now[0] is not frame or now[1] != sub or (writable and not now[2]):
                    yield f"cpu {cpu} holds a stale translation of page {page:#x} of space {number}"


def _walk(machine: MachineState, space: AddressSpace, address: int) -> tuple[Frame, int, bool] | None:
    table, writable = space.root, True
    while True:
        size = machine.coverage[table.level]
        entry = table.slots.get(address // size % machine.entries[table.level])
        if entry is None:
            return None
        writable = writable and entry.writable
        if isinstance(entry, Leaf):
            offset = address % size // machine.config.geometry.page
            return (entry.frame, entry.sub + offset, writable) if entry.readable and not entry.hint else None
        table = entry.table


def _space(machine: MachineState, space: AddressSpace) -> Iterator[str]:
    """VMAs in order; no table without a VMA; no entry that allows more than its VMA; no private page that others can write."""
    for lower, upper in zip(space.vmas, space.vmas[1:], strict=False):
        if lower.end > upper.start:
            yield f"space {space.number}: VMAs overlap at {upper.start:#x}"
    if any(vma.start >= vma.end for vma in space.vmas):
        yield f"space {space.number}: an empty VMA"
    yield from _tables(machine, space, space.root, 0, True)


def _tables(machine: MachineState, space: AddressSpace, table: Table, base: int, writable: bool) -> Iterator[str]:
    step = machine.coverage[table.level]
    for at, entry in table.slots.items():
        low = base + at * step
        over = [vma for vma in space.vmas if vma.start < low + step and low < vma.end]
        where = f"space {space.number}, {low:#x}"
        if not over:
            yield f"{where}: a table or page that no VMA needs"
            continue
        reach = writable and entry.writable
        if isinstance(entry, Link):
            foreign = entry.table.sharing is Sharing.DOMAIN and entry.table.owner is not space
            if foreign:
                yield from _window_link(machine, over, entry, where)
            else:
                yield from _tables(machine, space, entry.table, low, reach)
            continue
        if over[0].window is not None:
            yield from _window_entry(machine, over[0], low, entry, reach, where)
            continue
        yield from _entry(over[0], entry, reach, where)


def _window_link(machine: MachineState, over: list[Vma], entry: Link, where: str) -> Iterator[str]:
    window = next((vma for vma in over if vma.window is not None), None)
    if window is None or window.window is None or entry.table.owner is not window.window.space:
        yield f"{where}: linked to a domain that is not attached there"
    elif machine.config.strict_permissions and entry.writable and not window.writable:
        yield f"{where}: a read-only window is linked writable"


def _window_entry(machine: MachineState, vma: Vma, address: int, leaf: Leaf, reach: bool, where: str) -> Iterator[str]:
    """An entry that a sharer has un-shared is bound by the domain's mapping as those of the domain are."""
    domain = vma.window
    assert domain is not None
    inside = address - vma.start + domain.address
    mapping = next((one for one in domain.space.vmas if one.start <= inside < one.end), None)
    if mapping is None:
        yield f"{where}: a page where the domain maps nothing"
    else:
        yield from _entry(mapping, leaf, reach, where)
    if reach and not vma.writable and machine.config.strict_permissions:
        yield f"{where}: writable through a read-only window"


def _entry(vma: Vma, leaf: Leaf, reach: bool, where: str) -> Iterator[str]:
    if (reach and not vma.writable) or (leaf.readable and not vma.readable):
        yield f"{where}: the entry allows more than its VMA"
    if leaf.exclusive and leaf.frame.kind is not FrameKind.ANON:
        yield f"{where}: exclusive, but not anonymous"
    if not vma.shared and reach and not leaf.exclusive:
        yield f"{where}: a private page is writable that others may see"
    mapped = leaf.frame.refs - leaf.frame.pins
    if leaf.exclusive and leaf.frame.pages == 1 and mapped != 1:
        yield f"{where}: an exclusive page is mapped {mapped} times"


def _domains(machine: MachineState) -> Iterator[str]:
    """Windows and VMAs agree; a domain without owner or users keeps nothing."""
    attached = {id(vma): vma for space in machine.spaces.values() for vma in space.vmas if vma.window is not None}
    for domain in machine.domains:
        if domain.space.number not in machine.spaces:
            yield f"domain {domain.name!r} has lost its address space"
        for window in domain.windows:
            if attached.pop(id(window.vma), None) is None or window.vma.window is not domain:
                yield f"domain {domain.name!r} lists a window that is gone"
        below = [table for table in machine.tables if table.owner is domain.space]
        if machine.config.interface is not Interface.FLAG:
            alive = domain.owner in machine.processes
            if not alive and (below or domain.space.vmas):
                yield f"domain {domain.name!r}: its owner is gone, {len(below)} tables and its mappings are not"
        if any(table.memcg != domain.space.memcg for table in below):
            yield f"domain {domain.name!r}: a table is charged to another memory cgroup than the owner's"
    if attached:
        yield f"{len(attached)} windows on no domain"
    if any(
        table.level == Level.PTE and any(isinstance(e, Link) for e in table.slots.values()) for table in machine.tables
    ):
        yield "a PTE table links further down"
