"""Page tables: walking them, growing them, sharing and un-sharing them, freeing them.

A table is counted by its parents. Whoever changes an entry must hold the table alone (`own`), unless the table is shared *in
place*: then the change is meant for all.
"""

from collections.abc import Iterator

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import frames
from mshare_bench.sim.semantics.state import AddressSpace, Leaf, Link, MachineState, Sharing, Table, Vma

__all__ = [
    "change_in_place",
    "clear_slot",
    "copy_table",
    "coverage",
    "drop_leaf",
    "free_table",
    "get_table",
    "index",
    "leaf_slots",
    "new_leaf",
    "new_table",
    "own",
    "prune",
    "put_table",
    "slot",
    "top",
    "translate",
    "unlink_sharers",
    "unshare",
    "zap",
]


def top(machine: MachineState) -> int:
    """The level of the root (PGD), which no counter counts."""
    return len(machine.coverage) - 1


def coverage(machine: MachineState, level: int) -> int:
    """Bytes that one entry of a table of `level` covers."""
    return machine.coverage[level]


def index(machine: MachineState, level: int, address: int) -> int:
    """Which entry of a table of `level` an address uses."""
    return address // machine.coverage[level] % machine.entries[level]


def new_table(machine: MachineState, space: AddressSpace, level: int) -> Table:
    """Allocate an empty table for a space, charged to the space's memory cgroup."""
    sharing = Sharing.NONE if space.domain is None else Sharing.DOMAIN
    table = Table(level, space, space.memcg, sharing=sharing)
    machine.tables.add(table)
    frames.charge(machine, table.memcg, "tables", 1)
    return table


def get_table(table: Table) -> Table:
    """Take a reference for one more parent."""
    table.refs += 1
    return table


def put_table(machine: MachineState, table: Table) -> None:
    """Drop a parent's reference; the last one frees the table and what hangs below it."""
    table.refs -= 1
    if table.refs == 0:
        free_table(machine, table)


def free_table(machine: MachineState, table: Table) -> None:
    """Give a table back, with its references on frames and lower tables."""
    for at in list(table.slots):
        clear_slot(machine, table, at)
    machine.tables.discard(table)
    frames.charge(machine, table.memcg, "tables", -1)


def new_leaf(table: Table, at: int, leaf: Leaf) -> Leaf:
    """Point an empty entry at a page, taking the reference; replacing one is `clear_slot` first."""
    frames.get_frame(leaf.frame)
    table.slots[at] = leaf
    return leaf


def drop_leaf(machine: MachineState, leaf: Leaf) -> None:
    """Put what an entry held: the page, and the table deposited under it."""
    if leaf.deposit is not None:
        put_table(machine, leaf.deposit)
    frames.put_frame(machine, leaf.frame)


def clear_slot(machine: MachineState, table: Table, at: int) -> None:
    """Empty an entry, putting what it pointed to."""
    entry = table.slots.pop(at)
    if isinstance(entry, Link):
        put_table(machine, entry.table)
    else:
        drop_leaf(machine, entry)


def slot(
    machine: MachineState, space: AddressSpace, address: int, level: int
) -> "tuple[Table, int, Link | Leaf | None] | None":
    """Find the entry for an address in the table of `level`: (table, index, entry); None when there is no such table."""
    table = space.root
    while table.level > level:
        entry = table.slots.get(index(machine, table.level, address))
        if not isinstance(entry, Link):
            return None
        table = entry.table
    at = index(machine, table.level, address)
    return table, at, table.slots.get(at)


def translate(machine: MachineState, space: AddressSpace, address: int) -> tuple[Leaf, int, bool] | None:
    """Walk as the hardware does: (entry, its level, whether every level allows writing); None when nothing is mapped."""
    table, writable = space.root, True
    while True:
        entry = table.slots.get(address // machine.coverage[table.level] % machine.entries[table.level])
        if entry is None:
            return None
        writable = writable and entry.writable
        if isinstance(entry, Leaf):
            return entry, table.level, writable
        table = entry.table


def change_in_place(space: AddressSpace, table: Table) -> bool:
    """Whether a space may change this table as it is: its own, or one shared so that a change is meant for all.

    A domain's tables are changed through the domain's own space only: `own` for a sharer un-shares them.
    """
    if table.sharing is Sharing.COW:
        return False
    return table.owner is space or table.sharing is Sharing.HUGETLB


def own(machine: MachineState, space: AddressSpace, address: int, level: int, table: Table | None = None) -> Table:
    """Walk to the table of `level`, allocating what is missing and un-sharing what is shared for copying.

    The walk begins at `table`, which the space has walked to for this address, or at the root. No huge entry may be in the way.
    """
    table = space.root if table is None else table
    while table.level > level:
        at = address // machine.coverage[table.level] % machine.entries[table.level]
        entry = table.slots.get(at)
        if entry is None:
            entry = Link(get_table(new_table(machine, space, table.level - 1)))
            table.slots[at] = entry
        assert isinstance(entry, Link), "a huge page is split before tables grow below it"
        if not change_in_place(space, entry.table):
            entry = unshare(machine, space, table, at, entry)
        table = entry.table
    return table


def unshare(machine: MachineState, space: AddressSpace, parent: Table, at: int, link: Link) -> Link:
    """Give a space a table of its own where it links to a shared one: the last sharer takes it over, others copy it."""
    if link.table.sharing is Sharing.COW and link.table.refs == 1:
        link.table.owner, link.table.sharing = space, Sharing.NONE
        own_link = Link(link.table)
    else:
        own_link = Link(get_table(copy_table(machine, space, link.table)))
        put_table(machine, link.table)
    parent.slots[at] = own_link
    return own_link


def copy_table(machine: MachineState, space: AddressSpace, table: Table) -> Table:
    """Copy a table for a space: its pages and lower tables get one more reference each.

    After a fork (COW) each page is then in two tables, so no one may write it before the next copy-on-write.
    """
    copied = new_table(machine, space, table.level)
    for at, entry in table.slots.items():
        if isinstance(entry, Link):
            copied.slots[at] = Link(get_table(entry.table), entry.writable)
            continue
        if table.sharing is Sharing.COW:
            entry.writable = entry.exclusive = False
        leaf = Leaf(entry.frame, entry.readable, entry.writable, entry.exclusive, entry.sub, entry.hint)
        new_leaf(copied, at, leaf)
    return copied


def leaf_slots(
    machine: MachineState, space: AddressSpace, start: int, end: int, *, foreign: bool = False
) -> Iterator[tuple[Table, int, int, Leaf]]:
    """Every page entry of a space that maps part of a range: (table, index, address, entry).

    Tables that belong to a domain are passed over, unless `foreign`: what a sharer does to its own entries is not the domain's.
    The caller may clear entries while it goes.
    """
    yield from _leaves(machine, space, space.root, 0, start, end, foreign)


def _leaves(
    machine: MachineState, space: AddressSpace, table: Table, base: int, start: int, end: int, foreign: bool
) -> Iterator[tuple[Table, int, int, Leaf]]:
    step = coverage(machine, table.level)
    first, last = max(start - base, 0) // step, (end - 1 - base) // step
    indices = sorted(table.slots) if last - first >= len(table.slots) else range(first, last + 1)
    for at in indices:
        entry = table.slots.get(at)
        if entry is None or not first <= at <= last:
            continue
        if isinstance(entry, Leaf):
            yield table, at, base + at * step, entry
        elif foreign or entry.table.sharing is not Sharing.DOMAIN or entry.table.owner is space:
            yield from _leaves(machine, space, entry.table, base + at * step, start, end, foreign)


def zap(machine: MachineState, space: AddressSpace, start: int, end: int) -> bool:
    """Clear the page entries of a range (huge ones must lie in it whole); tables stay. Returns whether there were any."""
    cleared = False
    for table, at, address, _ in list(leaf_slots(machine, space, start, end)):
        if table.sharing is Sharing.COW:
            table = own(machine, space, address, table.level)
        clear_slot(machine, table, at)
        cleared = True
    return cleared


def prune(machine: MachineState, space: AddressSpace, start: int, end: int) -> list[Table]:
    """Free the tables over a range that no VMA of the space needs any more (free_pgtables). Returns what was unlinked.

    A table goes when no VMA is left in its span, with all that hangs below; one that others share only loses this parent.
    """
    unlinked: list[Table] = []
    _prune(machine, space, space.root, 0, start, end, unlinked)
    return unlinked


def _prune(
    machine: MachineState, space: AddressSpace, table: Table, base: int, start: int, end: int, unlinked: list[Table]
) -> None:
    if table.level == Level.PTE:
        return
    step = coverage(machine, table.level)
    first, last = max(start - base, 0) // step, (end - 1 - base) // step
    for at in [at for at in table.slots if first <= at <= last]:
        entry = table.slots[at]
        if not isinstance(entry, Link):
            continue
        low = base + at * step
        if not any(_overlaps(vma, low, low + step) for vma in space.vmas):
            unlinked.append(entry.table)
            if space.domain is not None:
                unlink_sharers(machine, space, entry.table)
            clear_slot(machine, table, at)
        elif change_in_place(space, entry.table) and entry.table.sharing is not Sharing.HUGETLB:
            _prune(machine, space, entry.table, low, start, end, unlinked)


def unlink_sharers(machine: MachineState, space: AddressSpace, table: Table) -> None:
    """Before a domain frees a table: take it, and all below it, out of every sharer's tables."""
    doomed = {table} | {link.table for link in _links_below(table)}
    assert space.domain is not None
    for sharer in {window.space.number: window.space for window in space.domain.windows}.values():
        _unlink(machine, sharer.root, doomed)


def _links_below(table: Table) -> Iterator[Link]:
    for entry in table.slots.values():
        if isinstance(entry, Link):
            yield entry
            yield from _links_below(entry.table)


def _unlink(machine: MachineState, table: Table, doomed: set[Table]) -> None:
    for at, entry in list(table.slots.items()):
        if isinstance(entry, Link):
            if entry.table in doomed:
                clear_slot(machine, table, at)
            elif entry.table.sharing is not Sharing.DOMAIN:
                _unlink(machine, entry.table, doomed)


def _overlaps(vma: Vma, start: int, end: int) -> bool:
    return vma.start < end and start < vma.end
