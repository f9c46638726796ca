"""Huge pages: transparent ones with their deposited tables, and hugetlb with shared PMD tables."""

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import frames, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    FrameKind,
    Leaf,
    Link,
    MachineState,
    Sharing,
    Table,
    Vma,
)

__all__ = [
    "anon_eligible",
    "fault_anon",
    "fault_hugetlb",
    "page_size",
    "shmem_eligible",
    "split",
    "split_at",
    "unshare_hugetlb",
]


def page_size(machine: MachineState) -> int:
    """Bytes of a huge page: what a PMD entry maps."""
    return machine.config.geometry.spans[0]


def _advised(setting: str, vma: Vma) -> bool:
    if "nohugepage" in vma.advice:
        return False
    return setting == "always" or (setting == "madvise" and "hugepage" in vma.advice)


def _covered(machine: MachineState, vma: Vma, address: int) -> bool:
    low = address - address % page_size(machine)
    return vma.start <= low and low + page_size(machine) <= vma.end


def anon_eligible(machine: MachineState, vma: Vma, address: int) -> bool:
    """Whether an anonymous fault tries a huge page: advised, and the aligned 2 MiB lies in the VMA."""
    return _advised(machine.config.thp, vma) and _covered(machine, vma, address)


def shmem_eligible(machine: MachineState, vma: Vma, address: int) -> bool:
    """The same for shmem, where the file offset must be aligned like the address."""
    aligned = (vma.start - vma.offset) % page_size(machine) == 0
    return vma.shared and _advised(machine.config.shmem_thp, vma) and aligned and _covered(machine, vma, address)


def fault_anon(machine: MachineState, space: AddressSpace, vma: Vma, address: int, write: bool) -> None:
    """Map a huge page, or for a read the huge zero page, with a PTE table deposited under it (do_huge_pmd_anonymous_page).

    The deposit is why anonymous THP saves no page-table bytes.
    """
    vmas.prepare_anon(space, vma)
    table = tables.own(machine, space, address, Level.PMD)
    at = tables.index(machine, Level.PMD, address)
    pages = machine.huge_zero.pages
    frame = frames.new_frame(machine, FrameKind.ANON, space.memcg, pages) if write else machine.huge_zero
    deposit = tables.get_table(tables.new_table(machine, space, Level.PTE))
    tables.new_leaf(table, at, Leaf(frame, True, write, exclusive=write, deposit=deposit))


def split(machine: MachineState, space: AddressSpace, table: Table, at: int, address: int) -> None:
    """Turn one huge entry into 512 small ones in the deposited table; one of a file is only cleared and faults again.

    The huge page's translations are flushed, all of them: what is split may reach beyond the range that it is split for.
    """
    leaf = table.slots[at]
    assert isinstance(leaf, Leaf)
    if leaf.deposit is None:
        tables.clear_slot(machine, table, at)
    else:
        for sub in range(machine.huge_zero.pages):
            if leaf.frame.kind is FrameKind.ZERO:
                small = Leaf(machine.zero, leaf.readable, writable=False)
            else:
                small = Leaf(leaf.frame, leaf.readable, leaf.writable, leaf.exclusive, sub, leaf.hint)
            tables.new_leaf(leaf.deposit, sub, small)
        table.slots[at] = Link(leaf.deposit)
        frames.put_frame(machine, leaf.frame)
    low = address - address % page_size(machine)
    tlb.flush(machine, space, low, low + page_size(machine))


def split_at(machine: MachineState, space: AddressSpace, address: int) -> None:
    """Split the transparent huge page across an address where a range begins or ends."""
    found = tables.slot(machine, space, address, Level.PMD)
    inside = address % page_size(machine) != 0
    if inside and found is not None and isinstance(found[2], Leaf) and tables.change_in_place(space, found[0]):
        split(machine, space, found[0], found[1], address)


def fault_hugetlb(machine: MachineState, space: AddressSpace, vma: Vma, address: int) -> bool:
    """Map a hugetlb page; the PMD table comes from another VMA of the same slot, if one has it (huge_pmd_share).

    Linking and filling are one fault. Returns whether the fault did nothing but link.
    """
    assert vma.backing is not None
    linked = _share_hugetlb(machine, space, vma, address)
    table = tables.own(machine, space, address, Level.PMD)
    at = tables.index(machine, Level.PMD, address)
    if at in table.slots:
        return linked
    size = machine.config.geometry.page
    frame, _ = frames.cache_page(machine, vma.backing, vma.position(address) // size, space.memcg, huge=True)
    tables.new_leaf(table, at, Leaf(frame, vma.readable, vma.writable))
    return False


def _share_hugetlb(machine: MachineState, space: AddressSpace, vma: Vma, address: int) -> bool:
    """Link the PMD table of another VMA over the same whole, aligned 1 GiB of the file, mapped with the same flags."""
    slot_size = machine.config.geometry.span(Level.PMD)
    low = address - address % slot_size
    taken = space.domain is not None or tables.slot(machine, space, address, Level.PMD) is not None
    if taken or not _whole(vma, low, slot_size):
        return False
    assert vma.backing is not None
    for other, candidate in vma.backing.mappers:
        there = candidate.start + vma.position(low) - candidate.offset
        if candidate is vma or there % slot_size or not _whole(candidate, there, slot_size):
            continue
        found = tables.slot(machine, other, there, Level.PMD)
        if found is None or found[0].sharing is Sharing.DOMAIN or vmas.attributes(candidate) != vmas.attributes(vma):
            continue
        found[0].sharing = Sharing.HUGETLB
        parent = tables.own(machine, space, address, Level.PUD)
        parent.slots[tables.index(machine, Level.PUD, address)] = Link(tables.get_table(found[0]))
        return True
    return False


def _whole(vma: Vma, low: int, size: int) -> bool:
    return vma.shared and vma.start <= low and low + size <= vma.end


def unshare_hugetlb(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Before one process changes a range of hugetlb: drop its links to shared PMD tables there (huge_pmd_unshare).

    The others keep the table; this process faults again. Each slot that was linked is flushed whole.
    """
    size = machine.config.geometry.span(Level.PMD)
    for low in range(start - start % size, end, size):
        found = tables.slot(machine, space, low, Level.PUD)
        if found is None or not isinstance(found[2], Link):
            continue
        shared = found[2].table
        if shared.sharing is Sharing.HUGETLB and shared.refs > 1:
            tables.clear_slot(machine, found[0], found[1])
            tlb.flush(machine, space, low, low + size)
