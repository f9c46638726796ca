"""Single pages: pinned (GUP), migrated, marked by NUMA balancing."""

import errno

from mshare_bench.sim.semantics import faults, frames, mappings, ops, permissions, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    Credentials,
    Frame,
    FrameKind,
    Interface,
    Leaf,
    MachineState,
    Process,
    Refused,
    Sharing,
    Signalled,
    Vma,
)

__all__ = ["hint_allowed", "mappers", "migrate", "numa_scan", "pin"]


def pin(machine: MachineState, process: Process, op: ops.Pin) -> None:
    """Take a long-term reference on a page, faulting it in where that is possible.

    In a window of msharefs it is not: handle_mm_fault() refuses the window's VMA, so a page that this process's tables do
    not reach is EFAULT. A private page that others have too is copied first, even for reading (FAULT_FLAG_UNSHARE).
    """
    vma = vmas.find(process.space, op.address)
    if vma is None or not faults.access_allowed(vma, op.write):
        raise Refused(errno.EFAULT)
    leaf = _reach(machine, process, vma, op.address, op.write)
    shared_anon = leaf.frame.kind in (FrameKind.ANON, FrameKind.KSM) and not leaf.exclusive
    if shared_anon and vma.window is None:
        process.minor_faults += 1
        faults.fill(machine, process.space, vma, op.address, True)
        leaf = _reach(machine, process, vma, op.address, False)
        leaf.writable = False
    if leaf.frame.kind is not FrameKind.ZERO:
        frames.get_frame(leaf.frame).pins += 1
        process.pins.append(leaf.frame)


def _reach(machine: MachineState, process: Process, vma: Vma, address: int, write: bool) -> Leaf:
    for _ in range(mappings.FAULTS_AT_MOST):
        found = tables.translate(machine, process.space, address)
        if found is not None and found[0].readable and not found[0].hint and (found[2] or not write):
            return found[0]
        if vma.window is not None and machine.config.interface is Interface.MSHAREFS:
            raise Refused(errno.EFAULT)
        try:
            mappings.fault(machine, process, address, write)
        except Signalled:
            raise Refused(errno.EFAULT) from None
    raise AssertionError(f"process {process.pid} cannot pin {address:#x}: it faults for ever")


def migrate(machine: MachineState, process: Process, op: ops.Migrate) -> None:
    """move_pages of one page: a new frame takes the old one's place in every table and in the page cache, and all are flushed.

    A page that more than one entry maps moves only with MPOL_MF_MOVE_ALL; a shared table's entry is one entry.
    """
    if op.every_mapper and not permissions.capable(process.credentials, Credentials(), "CAP_SYS_NICE"):
        raise Refused(errno.EPERM)
    found = tables.translate(machine, process.space, op.address)
    if found is None:
        raise Refused(errno.EFAULT if vmas.find(process.space, op.address) is None else errno.ENOENT)
    old = found[0].frame
    if old.kind is FrameKind.ZERO:
        raise Refused(errno.EFAULT)
    entries = mappers(machine, old)
    if len({id(leaf) for _, _, leaf in entries}) > 1 and not op.every_mapper:
        raise Refused(errno.EACCES)
    if old.pins:
        raise Refused(errno.EBUSY)
    if old.node == op.node:
        return
    new = frames.new_frame(machine, old.kind, old.memcg, old.pages)
    new.node = op.node
    for sub in range(old.pages):
        frames.write_byte(machine, new, sub, frames.read_byte(machine, old, sub))
    _move_references(machine, old, new, entries)
    size = old.pages * machine.config.geometry.page
    for space, address, _ in entries:
        tlb.flush(machine, space, address, address + size)


def mappers(machine: MachineState, frame: Frame) -> list[tuple[AddressSpace, int, Leaf]]:
    """Everything that maps a frame: (space, address, entry). The entries of a domain are listed once, for its own space."""
    return [
        (space, address, leaf)
        for space in machine.spaces.values()
        for vma in space.vmas
        for _, _, address, leaf in tables.leaf_slots(machine, space, vma.start, vma.end)
        if leaf.frame is frame
    ]


def _move_references(
    machine: MachineState, old: Frame, new: Frame, entries: list[tuple[AddressSpace, int, Leaf]]
) -> None:
    for leaf in {id(leaf): leaf for _, _, leaf in entries}.values():
        leaf.frame = frames.get_frame(new)
        frames.put_frame(machine, old)
    for backing in machine.backings:
        for index, (frame, sub) in list(backing.pages.items()):
            if frame is old:
                backing.pages[index] = new, sub
                if sub == 0:
                    frames.get_frame(new)
                    frames.put_frame(machine, old)


def hint_allowed(vma: Vma) -> bool:
    """Whether NUMA balancing marks a VMA's pages: never a window on a domain, hugetlb, a read-only file, or no access."""
    if vma.window is not None or not vma.readable:
        return False
    return vma.backing is None or (vma.writable and vma.backing.kind != "hugetlb")


def numa_scan(machine: MachineState, process: Process) -> None:
    """Make the next touch of each page fault, so that it is seen from which node it comes (change_prot_numa)."""
    space = process.space
    for vma in [one for one in space.vmas if hint_allowed(one)]:
        marked = False
        for table, _, _, leaf in tables.leaf_slots(machine, space, vma.start, vma.end):
            plain = leaf.frame.kind not in (FrameKind.ZERO, FrameKind.KSM) and table.sharing is not Sharing.COW
            if plain and (vma.shared or leaf.frame.refs == 1):
                leaf.hint = marked = True
        if marked:
            tlb.flush(machine, space, vma.start, vma.end)
