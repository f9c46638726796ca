"""fork (dup_mmap and copy_page_range in v6.18), with the tables of private memory copied, or shared as COW-PTE does."""

import errno

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import frames, huge, ops, spaces, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    AnonGroup,
    FrameKind,
    Leaf,
    Link,
    MachineState,
    Process,
    Refused,
    Sharing,
    Table,
    Vma,
    Window,
)

__all__ = ["copy_entry", "copy_range", "fork", "inherit_vma", "may_share_table", "needs_copy"]


def fork(machine: MachineState, process: Process, op: ops.Fork) -> None:
    """A child with the parent's credentials and a copy of its address space, or with `share_mm` the space itself.

    What the parent owns and pins stays its own.
    """
    if op.child in machine.processes:
        raise Refused(errno.EEXIST)
    if not 0 <= op.cpu < machine.config.cpus:
        raise ConfigError(f"cpu={op.cpu}: the machine has {machine.config.cpus}")
    parent = process.space
    child = parent if op.share_mm else spaces.new_space(machine, process.credentials.memcg)
    child.users += 1
    child.cpus.add(op.cpu)
    machine.processes[op.child] = Process(op.child, process.credentials, child, op.cpu)
    if op.share_mm:
        return
    for vma in parent.vmas:
        child.vmas.append(inherit_vma(child, vma))
    for vma in parent.vmas:
        if needs_copy(vma):
            copy_range(machine, parent, child, vma)
        elif vma.window is not None:
            copy_unshared(machine, parent, child, vma)
    # dup_mmap() flushes the parent once: its private pages have become read-only.
    tlb.flush(machine, parent, 0, machine.config.geometry.address_space)


def inherit_vma(child: AddressSpace, vma: Vma) -> Vma:
    """Copy a VMA for a child; a window makes the child a sharer of the domain, never its owner."""
    copied = Vma(
        vma.start,
        vma.end,
        vma.readable,
        vma.writable,
        vma.shared,
        vma.backing,
        vma.offset,
        vma.advice,
        anon=None if vma.anon is None else AnonGroup(),
        inherited=vma.anon is not None,
        window=vma.window,
        may_write=vma.may_write,
    )
    vmas.link_file(child, copied, parent=vma)
    if vma.window is not None:
        vma.window.windows.append(Window(child, copied))
    return copied


def needs_copy(vma: Vma) -> bool:
    """Whether fork copies the entries of a VMA: only where there may be anonymous pages; the rest the child faults again."""
    return vma.anon is not None


def copy_range(machine: MachineState, parent: AddressSpace, child: AddressSpace, vma: Vma) -> None:
    """Copy the tables and entries of one VMA. Every table of the parent under it gets its like in the child, full or empty."""
    _copy_table(machine, parent, child, vma, parent.root, 0)


def copy_unshared(machine: MachineState, parent: AddressSpace, child: AddressSpace, vma: Vma) -> None:
    """Hand down the private pages that a sharer wrote in a window (`ideal`); everything else there the child links again."""
    for table, _, address, leaf in list(tables.leaf_slots(machine, parent, vma.start, vma.end)):
        if leaf.frame.kind is FrameKind.ANON:
            target = tables.own(machine, child, address, table.level)
            copy_entry(machine, child, target, tables.index(machine, table.level, address), leaf)


def _copy_table(
    machine: MachineState, parent: AddressSpace, child: AddressSpace, vma: Vma, table: Table, base: int
) -> None:
    step = tables.coverage(machine, table.level)
    for at, entry in list(table.slots.items()):
        low = base + at * step
        if low >= vma.end or low + step <= vma.start:
            continue
        if isinstance(entry, Leaf) and entry.deposit is not None and _copied_at_once(entry):
            # Linux copy_huge_pmd(): a pinned huge page is split first, and its base pages are copied one by one.
            huge.split(machine, parent, table, at, low)
            entry = table.slots[at]
        if isinstance(entry, Leaf):
            target = tables.own(machine, child, low, table.level)
            copy_entry(machine, child, target, tables.index(machine, table.level, low), entry)
        elif entry.table.level == Level.PTE and may_share_table(machine, parent, child, entry.table, low, low + step):
            _share_table(machine, child, table, at, entry, low)
        elif _has_table(machine, child, entry.table, low):
            continue  # shared already, for another VMA over it
        else:
            if entry.table.sharing is Sharing.COW:
                entry = tables.unshare(machine, parent, table, at, entry)
            tables.own(machine, child, low, entry.table.level)
            _copy_table(machine, parent, child, vma, entry.table, low)


def copy_entry(machine: MachineState, child: AddressSpace, table: Table, at: int, entry: Leaf) -> None:
    """Give the child a private page: shared and read-only for both, or its own copy at once when the page is pinned.

    A deposited table is duplicated with its huge page.
    """
    if _copied_at_once(entry):
        copied = frames.new_frame(machine, FrameKind.ANON, child.memcg)
        frames.copy_bytes(machine, entry.frame, entry.sub, copied)
        tables.new_leaf(table, at, Leaf(copied, entry.readable, entry.writable, exclusive=True))
        return
    entry.writable = entry.exclusive = False
    deposit = None
    if entry.deposit is not None:
        deposit = tables.get_table(tables.new_table(machine, child, Level.PTE))
    leaf = Leaf(entry.frame, entry.readable, writable=False, sub=entry.sub, hint=entry.hint, deposit=deposit)
    tables.new_leaf(table, at, leaf)


def _copied_at_once(entry: Leaf) -> bool:
    return entry.frame.pins > 0 and entry.frame.kind is FrameKind.ANON and entry.exclusive


def may_share_table(
    machine: MachineState, parent: AddressSpace, child: AddressSpace, table: Table, low: int, high: int
) -> bool:
    """Whether fork shares a PTE page instead of copying it (COW-PTE): all of it private anonymous memory, nothing pinned."""
    if machine.config.fork_tables != "shared" or tables.slot(machine, child, low, Level.PTE) is not None:
        return False
    above = vmas.overlapping(parent, low, high)
    private = all(needs_copy(vma) and vma.backing is None for vma in above)
    pinned = any(isinstance(entry, Leaf) and entry.frame.pins for entry in table.slots.values())
    return private and not pinned


def _has_table(machine: MachineState, child: AddressSpace, table: Table, low: int) -> bool:
    found = tables.slot(machine, child, low, table.level)
    return found is not None and found[0] is table


def _share_table(machine: MachineState, child: AddressSpace, table: Table, at: int, entry: Link, low: int) -> None:
    """Link a PTE page into the child too, write-protected one level up in both."""
    entry.table.sharing = Sharing.COW
    table.slots[at] = Link(entry.table, writable=False)
    target = tables.own(machine, child, low, Level.PMD)
    target.slots[tables.index(machine, Level.PMD, low)] = Link(tables.get_table(entry.table), writable=False)
