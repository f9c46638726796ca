"""What a page fault does (mm/memory.c in v6.18): one function per kind of fault, one fault counted by the caller."""

import signal

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import frames, huge, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    Backing,
    FrameKind,
    Leaf,
    MachineState,
    Signalled,
    Table,
    Vma,
)

__all__ = [
    "access_allowed",
    "around_window",
    "copy_on_write",
    "fill",
    "fill_anonymous",
    "fill_file",
    "map_around",
    "maps_writable",
    "may_reuse",
]

_FAULT_AROUND = frozenset({"memfd", "file", "shm_anon"})


def access_allowed(vma: Vma, write: bool) -> bool:
    """Whether the protection of a VMA lets an access through."""
    return vma.writable if write else vma.readable


def fill(machine: MachineState, space: AddressSpace, vma: Vma, address: int, write: bool) -> bool:
    """Resolve a fault whose access is allowed. Returns whether it only linked a shared table (hugetlb)."""
    if vma.backing is not None and vma.backing.kind == "hugetlb":
        _within(machine, vma.backing, vma.position(address))
        return huge.fault_hugetlb(machine, space, vma, address)
    table = tables.own(machine, space, address, Level.PMD)
    at = tables.index(machine, Level.PMD, address)
    entry = table.slots.get(at)
    if isinstance(entry, Leaf) and not _resolve_huge(machine, space, vma, address, write, table, at, entry):
        return False
    if entry is None and vma.backing is None and huge.anon_eligible(machine, vma, address) and space.domain is None:
        huge.fault_anon(machine, space, vma, address, write)
        return False
    if entry is None and vma.backing is not None and _map_huge_file(machine, space, vma, address, table, at):
        return False
    if vma.backing is not None:
        _within(machine, vma.backing, vma.position(address))
    table = tables.own(machine, space, address, Level.PTE, table)
    at = tables.index(machine, Level.PTE, address)
    leaf = table.slots.get(at)
    if isinstance(leaf, Leaf):
        _resolve_small(machine, space, vma, address, write, table, at, leaf)
    elif vma.backing is None:
        fill_anonymous(machine, space, vma, table, at, write)
    else:
        fill_file(machine, space, vma, vma.backing, address, table, write)
    return False


def fill_anonymous(machine: MachineState, space: AddressSpace, vma: Vma, table: Table, at: int, write: bool) -> None:
    """First touch of private anonymous memory: a read maps the zero page, a write a new page."""
    if not write:
        tables.new_leaf(table, at, Leaf(machine.zero, True, writable=False))
        return
    vmas.prepare_anon(space, vma)
    frame = frames.new_frame(machine, FrameKind.ANON, space.memcg)
    tables.new_leaf(table, at, Leaf(frame, True, True, exclusive=True))


def fill_file(
    machine: MachineState, space: AddressSpace, vma: Vma, backing: Backing, address: int, table: Table, write: bool
) -> None:
    """First touch of a file page: a read maps what is cached around it, a write its one page (a copy, if private)."""
    size = machine.config.geometry.page
    at = tables.index(machine, Level.PTE, address)
    if not write and backing.kind in _FAULT_AROUND:
        map_around(machine, vma, backing, address, table)
        if at in table.slots:
            return
    frame, sub = frames.cache_page(machine, backing, vma.position(address) // size, space.memcg)
    if write and not vma.shared:
        vmas.prepare_anon(space, vma)
        copied = frames.new_frame(machine, FrameKind.ANON, space.memcg)
        frames.copy_bytes(machine, frame, sub, copied)
        tables.new_leaf(table, at, Leaf(copied, True, True, exclusive=True))
    else:
        tables.new_leaf(table, at, Leaf(frame, True, write or maps_writable(vma, backing), sub=sub))


def maps_writable(vma: Vma, backing: Backing) -> bool:
    """Whether a read of a shared file page maps it writable at once: shmem does, a file system wants to hear of the write."""
    return vma.shared and vma.writable and backing.kind != "file"


def around_window(machine: MachineState, vma: Vma, address: int) -> tuple[int, int]:
    """The addresses that a read fault fills: 64 KiB, aligned in virtual address, cut at the VMA and the PTE table.

    Linux do_fault_around(): a window that would begin before the VMA begins with the VMA instead, and still is 64 KiB long.
    """
    span, around = machine.config.geometry.span(Level.PTE), machine.config.fault_around
    start = max(address - address % around, vma.start)
    end = min(start + around, address - address % span + span, vma.end)
    return start, end


def map_around(machine: MachineState, vma: Vma, backing: Backing, address: int, table: Table) -> None:
    """Map the pages of the window that are in the page cache and not mapped yet; holes stay holes."""
    size = machine.config.geometry.page
    start, end = around_window(machine, vma, address)
    first = tables.index(machine, Level.PTE, start)
    writable = maps_writable(vma, backing)
    position = vma.position(start) // size
    for step in range((end - start) // size):
        cached = backing.pages.get(position + step)
        if cached is not None and first + step not in table.slots:
            tables.new_leaf(table, first + step, Leaf(cached[0], True, writable, sub=cached[1]))


def may_reuse(table: Table, leaf: Leaf) -> bool:
    """Whether a write may take an anonymous page as it is: nobody else refers to it.

    A small page by its one reference; one of a huge page if all of its references come from this table.
    """
    if leaf.frame.kind is not FrameKind.ANON:
        return False
    if leaf.exclusive or leaf.frame.refs == 1:
        return True
    if leaf.frame.pages == 1:
        return False
    here = sum(isinstance(other, Leaf) and other.frame is leaf.frame for other in table.slots.values())
    return here == leaf.frame.refs


def copy_on_write(machine: MachineState, space: AddressSpace, vma: Vma, address: int, table: Table, at: int) -> None:
    """Write to a private page that is mapped read-only: take it if no one else has it, else copy it."""
    leaf = table.slots[at]
    assert isinstance(leaf, Leaf)
    if may_reuse(table, leaf):
        leaf.writable = leaf.exclusive = True
        return
    vmas.prepare_anon(space, vma)
    copied = frames.new_frame(machine, FrameKind.ANON, space.memcg)
    frames.copy_bytes(machine, leaf.frame, leaf.sub, copied)
    tables.clear_slot(machine, table, at)
    tables.new_leaf(table, at, Leaf(copied, True, True, exclusive=True))
    size = machine.config.geometry.page
    tlb.flush(machine, space, address - address % size, address - address % size + size)


def _resolve_small(
    machine: MachineState, space: AddressSpace, vma: Vma, address: int, write: bool, table: Table, at: int, leaf: Leaf
) -> None:
    if leaf.hint:
        leaf.hint = False
    if write and not leaf.writable:
        if vma.shared:
            leaf.writable = True
        else:
            copy_on_write(machine, space, vma, address, table, at)


def _resolve_huge(
    machine: MachineState, space: AddressSpace, vma: Vma, address: int, write: bool, table: Table, at: int, leaf: Leaf
) -> bool:
    """Resolve a fault on a huge entry; True when it had to be split and the small page below is next (in the same fault)."""
    if leaf.hint:
        leaf.hint = False
    if not write or leaf.writable:
        return False
    if leaf.frame.kind is FrameKind.ZERO:
        leaf.frame = frames.get_frame(frames.new_frame(machine, FrameKind.ANON, space.memcg, machine.huge_zero.pages))
        leaf.writable = leaf.exclusive = True
        _flush_huge(machine, space, address)
        return False
    if vma.shared or may_reuse(table, leaf):
        leaf.writable = True
        leaf.exclusive = not vma.shared
        return False
    huge.split(machine, space, table, at, address)
    return True


def _flush_huge(machine: MachineState, space: AddressSpace, address: int) -> None:
    size = huge.page_size(machine)
    low = address - address % size
    tlb.flush(machine, space, low, low + size)


def _map_huge_file(machine: MachineState, space: AddressSpace, vma: Vma, address: int, table: Table, at: int) -> bool:
    """Map a huge page of shmem with one PMD entry, allocating it if the hole allows; False when it must be small pages."""
    assert vma.backing is not None
    if vma.backing.kind not in ("memfd", "shm_anon") or not huge.shmem_eligible(machine, vma, address):
        return False
    page = machine.config.geometry.page
    low = address - address % huge.page_size(machine)
    _within(machine, vma.backing, vma.position(address))
    frame, _ = frames.cache_page(machine, vma.backing, vma.position(address) // page, space.memcg, huge=True)
    if frame.pages == 1 or vma.backing.pages[vma.position(low) // page] != (frame, 0):
        return False
    tables.new_leaf(table, at, Leaf(frame, True, vma.writable))
    return True


def _within(machine: MachineState, backing: Backing, position: int) -> None:
    page = machine.config.geometry.page
    if position >= -(-backing.size // page) * page:
        raise Signalled(signal.SIGBUS)
