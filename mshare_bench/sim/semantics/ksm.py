"""KSM: merges equal pages of private anonymous memory that was advised. Frames become fewer, tables stay as they are."""

from collections import defaultdict

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import frames, huge, tables, tlb
from mshare_bench.sim.semantics.state import AddressSpace, Frame, FrameKind, Leaf, MachineState, Table, Vma

__all__ = ["RMAP_ITEM_BYTES", "mergeable", "scan"]

# struct ksm_rmap_item, one for each page that is scanned (Documentation/admin-guide/mm/ksm.rst, general_profit).
RMAP_ITEM_BYTES = 64


def mergeable(vma: Vma) -> bool:
    """Whether KSM looks at a VMA: advised, private and anonymous. Shared memory and windows on a domain never are."""
    return "mergeable" in vma.advice and not vma.shared and vma.backing is None and vma.window is None


def scan(machine: MachineState) -> None:
    """Scan until nothing changes: pages that hold the same become one, read-only page, up to `max_page_sharing` mappings."""
    groups: dict[int, list[tuple[AddressSpace, int, Leaf]]] = defaultdict(list)
    items = 0
    for space in machine.spaces.values():
        for vma in [one for one in space.vmas if mergeable(one) and space.domain is None]:
            for table, at, address, leaf in list(tables.leaf_slots(machine, space, vma.start, vma.end)):
                if leaf.frame.kind is FrameKind.ZERO or leaf.frame.pins:
                    continue
                if table.level == Level.PMD:
                    huge.split(machine, space, table, at, address)
            for table, at, address, _ in list(tables.leaf_slots(machine, space, vma.start, vma.end)):
                leaf = _leaf(tables.own(machine, space, address, table.level), at)
                if leaf.frame.kind is FrameKind.ZERO or leaf.frame.pins:
                    continue
                items += 1
                groups[frames.read_byte(machine, leaf.frame, leaf.sub)].append((space, address, leaf))
    machine.metadata_items = items
    for equal in groups.values():
        for first in range(0, len(equal), machine.config.ksm_max_page_sharing):
            _merge(machine, equal[first : first + machine.config.ksm_max_page_sharing])


def _leaf(table: Table, at: int) -> Leaf:
    leaf = table.slots[at]
    assert isinstance(leaf, Leaf)
    return leaf


def _merge(machine: MachineState, equal: list[tuple[AddressSpace, int, Leaf]]) -> None:
    if len({leaf.frame.number for _, _, leaf in equal}) < 2:
        return
    merged = next((leaf.frame for _, _, leaf in equal if leaf.frame.kind is FrameKind.KSM), None)
    if merged is None:
        merged = _merged_frame(machine, equal[0][2])
    page = machine.config.geometry.page
    for space, address, leaf in equal:
        if leaf.frame is merged:
            continue
        old = leaf.frame
        leaf.frame, leaf.sub = frames.get_frame(merged), 0
        leaf.writable = leaf.exclusive = False
        frames.put_frame(machine, old)
        tlb.flush(machine, space, address, address + page)


def _merged_frame(machine: MachineState, leaf: Leaf) -> Frame:
    merged = frames.new_frame(machine, FrameKind.KSM, leaf.frame.memcg)
    return frames.copy_bytes(machine, leaf.frame, leaf.sub, merged)
