"""Domains: regions whose page tables are shared, in the three interfaces.

A domain has an address space of its own (the kernel's host mm) that holds its mappings and tables; a process attaches with a
window, and its faults there fill the domain's tables for all and link them into its own. The rules follow the posted
series (v2 and v3 of msharefs, find_shared_vma() and its callers; the 2022-23 flag); `ideal` is no posted design.
"""

import errno
from dataclasses import replace

from mshare_bench.domain.geometry import Level
from mshare_bench.sim.semantics import faults, ops, permissions, ranges, spaces, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    AnonGroup,
    Backing,
    Credentials,
    Domain,
    Interface,
    Leaf,
    Link,
    MachineState,
    Process,
    Refused,
    Sharing,
    Signalled,
    Table,
    Vma,
    Window,
)

__all__ = [
    "advise_part",
    "attach",
    "change_inside",
    "check_window_change",
    "create",
    "detach",
    "fault",
    "link",
    "link_writable",
    "map_inside",
    "may_resize",
    "protect_part",
    "resize",
    "share_level",
    "tear_down",
    "unit",
    "unlink",
    "unmap_part",
]


def share_level(machine: MachineState) -> int:
    """The level of the tables that a sharer links: the topmost counted one, or with the flag PTE pages."""
    return Level.PTE if machine.config.interface is Interface.FLAG else tables.top(machine) - 1


def unit(machine: MachineState) -> int:
    """Alignment and granularity of a region: what one linked table covers."""
    return machine.config.geometry.spans[share_level(machine)]


def create(machine: MachineState, process: Process, op: ops.Create) -> None:
    """Make a named domain, owned and paid for by its creator; with the flag, the memfd that will be mapped with it."""
    who = process.credentials
    if machine.config.interface is Interface.FLAG:
        spaces.create_file(machine, process, ops.CreateFile(op.pid, op.name, "memfd", 0, op.mode))
        return
    if permissions.find_domain(machine, who, op.name) is not None:
        raise Refused(errno.EEXIST)
    domain = _new_domain(machine, op.name, who, op.mode, process.pid)
    machine.names[who.mount_ns, op.name] = domain


def _new_domain(machine: MachineState, name: str, who: Credentials, mode: int, owner: int | None) -> Domain:
    space = spaces.new_space(machine, who.memcg)
    domain = Domain(name, space, who, mode, owner)
    space.domain = domain
    machine.domains.add(domain)
    return domain


def resize(machine: MachineState, process: Process, op: ops.Resize) -> None:
    """ftruncate: a domain takes its size once, in whole units; size 0 makes it unusable for good."""
    if machine.config.interface is Interface.FLAG:
        _open_file(machine, process, op.name, write=True).size = op.size
        return
    domain = _open(machine, process, op.name, write=True)
    if not may_resize(machine, domain, op.size):
        raise Refused(errno.EINVAL)
    domain.size = op.size


def may_resize(machine: MachineState, domain: Domain, size: int) -> bool:
    """Whether a domain may be given a size: it has none yet, and it is a whole number of units."""
    return domain.size is None and size >= 0 and size % unit(machine) == 0


def map_inside(machine: MachineState, process: Process, op: ops.MapInside) -> None:
    """MSHAREFS_CREATE_MAPPING: map memory at a fixed place inside; what was mapped there goes, for all."""
    if machine.config.interface is Interface.FLAG:
        raise Refused(errno.ENOTTY)
    # v3 lets a read-only descriptor through.
    domain = _open(machine, process, op.name, write=machine.config.strict_permissions)
    _check_alive(domain)
    if not op.fixed or (not op.shared and machine.config.interface is Interface.MSHAREFS):
        raise Refused(errno.EINVAL)
    backing = None if op.file is None else _open_file(machine, process, op.file, write=op.prot == "rw")
    _check_inside(domain, op.offset, op.length)
    ranges.map_range(
        machine,
        domain.space,
        ops.Map(0, domain.address + op.offset, op.length, op.file, op.file_offset, op.prot, op.shared, replace=True),
        backing,
    )


def change_inside(
    machine: MachineState, process: Process, op: ops.UnmapInside | ops.ProtectInside | ops.AdviseInside
) -> None:
    """Unmap, protect or advise a range inside, for all. v3 has a call for the first only."""
    interface = machine.config.interface
    if interface is Interface.FLAG or (interface is Interface.MSHAREFS and not isinstance(op, ops.UnmapInside)):
        raise Refused(errno.ENOTTY)
    domain = _open(machine, process, op.name, write=machine.config.strict_permissions)
    _check_alive(domain)
    _check_inside(domain, op.offset, op.length)
    start = domain.address + op.offset
    end = start + op.length
    if isinstance(op, ops.UnmapInside):
        ranges.unmap_range(machine, domain.space, start, end)
    elif isinstance(op, ops.ProtectInside):
        _protect(machine, domain, start, end, *ranges.parse_prot(op.prot))
    else:
        _advise(machine, domain, start, end, op.advice)


def attach(machine: MachineState, process: Process, op: ops.Attach) -> None:
    """Map a whole domain into a process. Every refusal comes before any change."""
    write = op.prot == "rw"
    readable, writable = ranges.parse_prot(op.prot)
    if machine.config.interface is Interface.FLAG:
        domain = _attach_flag(machine, process, op)
        if domain is None:
            return
    else:
        domain = _open(machine, process, op.name, write)
        if not op.shared:
            raise Refused(errno.EINVAL)
        _check_alive(domain)
        _check_place(machine, process, op, domain.size)
    assert domain.size is not None
    vma = Vma(op.address, op.address + domain.size, readable, writable, True, None, 0, window=domain)
    vmas.insert(process.space, vma)
    domain.windows.append(Window(process.space, vma))


def _attach_flag(machine: MachineState, process: Process, op: ops.Attach) -> Domain | None:
    """Find or make the domain of a file mapped with the flag; None when the mapping is private and so shares nothing."""
    backing = _open_file(machine, process, op.name, op.prot == "rw" and op.shared)
    length = backing.size if op.length is None else op.length
    if not op.shared:
        ranges.map_range(machine, process.space, ops.Map(op.pid, op.address, length, op.name, 0, op.prot), backing)
        return None
    if backing.kind != "memfd" or length % unit(machine):
        raise Refused(errno.EINVAL)
    _check_place(machine, process, op, length)
    for domain in machine.domains:
        if domain.backing is backing:
            widens = op.prot == "rw" and any(not mapping.writable for mapping in domain.space.vmas)
            if (domain.address, domain.size) != (op.address, length) or widens:
                raise Refused(errno.EINVAL)
            return domain
    domain = _new_domain(machine, op.name, process.credentials, backing.mode, None)
    domain.backing, domain.address, domain.size = backing, op.address, length
    mapping = ops.Map(op.pid, op.address, length, op.name, 0, op.prot, shared=True)
    ranges.map_range(machine, domain.space, mapping, backing)
    ranges.set_advice(machine, domain.space, op.address, op.address + length, "nohugepage")
    return domain


def detach(machine: MachineState, process: Process, op: ops.Detach) -> None:
    """Munmap of a whole window: the links go, the domain stays."""
    vma = vmas.find(process.space, op.address)
    if vma is None or vma.window is None:
        raise Refused(errno.EINVAL)
    ranges.unmap_range(machine, process.space, vma.start, vma.end)


def unlink(machine: MachineState, process: Process, op: ops.Unlink) -> None:
    """Take a name away, of a domain or else of a file; whoever has it mapped goes on."""
    who = process.credentials
    domain = permissions.find_domain(machine, who, op.name)
    if domain is None:
        spaces.unlink_file(machine, process, op.name)
        return
    if not permissions.may_unlink(machine, who, domain.credentials):
        raise Refused(errno.EPERM)
    domain.linked = False
    del machine.names[who.mount_ns, op.name]
    ranges.release_domain(machine, domain)


def tear_down(machine: MachineState, pid: int) -> None:
    """The owner's exit: all that its domains map is unmapped, so that every sharer's next touch is a SIGSEGV.

    With the flag nobody owns a domain.
    """
    for domain in [one for one in machine.domains if one.owner == pid]:
        domain.owner, domain.torn_down = None, True
        if domain.space.vmas:
            ranges.unmap_range(machine, domain.space, 0, machine.config.geometry.address_space)
        ranges.release_domain(machine, domain)


def check_window_change(machine: MachineState, vma: Vma) -> None:
    """Refuse to unmap part of a window or to protect it (msharefs: may_split and mprotect of its VMA say EINVAL)."""
    if machine.config.interface is Interface.MSHAREFS:
        raise Refused(errno.EINVAL)
    if machine.config.strict_permissions and not vma.writable:
        raise Refused(errno.EACCES)


def unmap_part(machine: MachineState, vma: Vma, start: int, end: int) -> None:
    """One sharer unmaps part of a window, where that is allowed: it is gone for all."""
    domain, low, high = _inside(vma, start, end)
    ranges.unmap_range(machine, domain.space, low, high)


def protect_part(machine: MachineState, vma: Vma, start: int, end: int, readable: bool, writable: bool) -> None:
    """One sharer protects part of a window, where that is allowed: for all."""
    _protect(machine, *_inside(vma, start, end), readable, writable)


def advise_part(machine: MachineState, vma: Vma, start: int, end: int, advice: str) -> None:
    """One sharer advises on part of a window: for all. Msharefs accepts MADV_DONTNEED and does nothing."""
    if machine.config.interface is Interface.MSHAREFS:
        if advice != "dontneed":
            check_window_change(machine, vma)
        return
    check_window_change(machine, vma)
    _advise(machine, *_inside(vma, start, end), advice)


def fault(machine: MachineState, process: Process, vma: Vma, address: int, write: bool) -> None:
    """A fault in a window: link the domain's table if there is one to link, else fill it as the domain's mapping says.

    Linking is a fault of its own (VM_FAULT_NOPAGE, outside handle_mm_fault: a perf page-fault, not one of ru_minflt); the
    access then faults again if the page is not there.
    """
    domain = vma.window
    assert domain is not None
    if machine.config.strict_permissions and not faults.access_allowed(vma, write):
        raise Signalled
    inside = address - vma.start + domain.address
    if link(machine, process.space, vma, address, inside):
        process.linking_faults += 1
        return
    mapping = vmas.find(domain.space, inside)
    if mapping is None or not faults.access_allowed(mapping, write):
        raise Signalled
    process.minor_faults += 1
    if _has_own_entries(machine, process.space, address) or (write and not mapping.shared):
        shift = address - inside
        view = replace(mapping, start=mapping.start + shift, end=mapping.end + shift, anon=AnonGroup())
        _fill_own(machine, process.space, view, address, write)
    else:
        faults.fill(machine, domain.space, mapping, inside, write)


def link(machine: MachineState, space: AddressSpace, vma: Vma, address: int, inside: int) -> bool:
    """Bring a sharer's tables in line with the domain's on the way to an address: link the first that it lacks.

    Returns whether a link was made. Above the level that the interface shares, the sharer has tables of its own.
    """
    domain = vma.window
    assert domain is not None
    level = share_level(machine) + 1
    found = tables.slot(machine, domain.space, inside, level)
    if found is None or not isinstance(found[2], Link):
        return False
    ours, theirs = tables.own(machine, space, address, level), found[0]
    while ours.level > Level.PTE:
        at, there = tables.index(machine, ours.level, address), tables.index(machine, ours.level, inside)
        entry, target = ours.slots.get(at), theirs.slots.get(there)
        if not isinstance(target, Link):
            return False
        if entry is None:
            ours.slots[at] = Link(tables.get_table(target.table), link_writable(machine, vma))
            return True
        assert isinstance(entry, Link)
        if entry.table is target.table:
            return False
        ours, theirs = entry.table, target.table
    return False


def link_writable(machine: MachineState, vma: Vma) -> bool:
    """Whether a window's link lets writes through.

    The tables below are the same for all, so that only the link can hold a read-only sharer back; v3 does not.
    """
    return vma.writable or not machine.config.strict_permissions


def _has_own_entries(machine: MachineState, space: AddressSpace, address: int) -> bool:
    """Whether a sharer has un-shared the PTE page of an address (`ideal`): then only it can fill it."""
    found = tables.slot(machine, space, address, Level.PTE)
    return found is not None and found[0].sharing is not Sharing.DOMAIN


def _fill_own(machine: MachineState, space: AddressSpace, view: Vma, address: int, write: bool) -> None:
    table = tables.own(machine, space, address, Level.PTE)
    at = tables.index(machine, Level.PTE, address)
    leaf = table.slots.get(at)
    if isinstance(leaf, Leaf):
        if write and not leaf.writable:
            _write_own(machine, space, view, address, table, at)
    elif view.backing is None:
        faults.fill_anonymous(machine, space, view, table, at, write)
    else:
        faults.fill_file(machine, space, view, view.backing, address, table, write)


def _write_own(machine: MachineState, space: AddressSpace, view: Vma, address: int, table: Table, at: int) -> None:
    if view.shared:
        leaf = table.slots[at]
        assert isinstance(leaf, Leaf)
        leaf.writable = True
    else:
        faults.copy_on_write(machine, space, view, address, table, at)


def _protect(machine: MachineState, domain: Domain, start: int, end: int, readable: bool, writable: bool) -> None:
    changed = False
    for mapping in vmas.overlapping(domain.space, start, end):
        low, high = max(mapping.start, start), min(mapping.end, end)
        changed = ranges.change_protection(machine, domain.space, low, high, readable, writable) or changed
        for space, own_low, own_high in ranges.own_ranges(domain, low, high):
            for _, _, _, leaf in tables.leaf_slots(machine, space, own_low, own_high):
                changed = changed or (leaf.readable and not readable) or (leaf.writable and not writable)
                leaf.readable = readable
                leaf.writable = writable and ranges.writable_at_once(mapping, leaf)
    if changed:
        tlb.flush(machine, domain.space, start, end)


def _advise(machine: MachineState, domain: Domain, start: int, end: int, advice: str) -> None:
    changed = False
    for mapping in vmas.overlapping(domain.space, start, end):
        low, high = max(mapping.start, start), min(mapping.end, end)
        if advice != "dontneed":
            ranges.set_advice(machine, domain.space, low, high, advice)
            continue
        changed = ranges.dontneed(machine, domain.space, low, high) or changed
        for space, own_low, own_high in ranges.own_ranges(domain, low, high):
            changed = tables.zap(machine, space, own_low, own_high) or changed
    if changed:
        tlb.flush(machine, domain.space, start, end)


def _inside(vma: Vma, start: int, end: int) -> tuple[Domain, int, int]:
    assert vma.window is not None
    delta = vma.window.address - vma.start
    return vma.window, start + delta, end + delta


def _open(machine: MachineState, process: Process, name: str, write: bool) -> Domain:
    domain = permissions.find_domain(machine, process.credentials, name)
    if domain is None:
        raise Refused(errno.ENOENT)
    if not permissions.may_access(process.credentials, domain.credentials, domain.mode, write):
        raise Refused(errno.EACCES)
    return domain


def _open_file(machine: MachineState, process: Process, name: str, write: bool) -> Backing:
    backing = machine.files.get(name)
    if backing is None:
        raise Refused(errno.ENOENT)
    if not permissions.may_access(process.credentials, backing.credentials, backing.mode, write):
        raise Refused(errno.EACCES)
    return backing


def _check_alive(domain: Domain) -> None:
    if not domain.size or domain.torn_down:
        raise Refused(errno.EINVAL)


def _check_inside(domain: Domain, offset: int, length: int) -> None:
    assert domain.size is not None
    if offset < 0 or length <= 0 or offset + length > domain.size:
        raise Refused(errno.EINVAL)


def _check_place(machine: MachineState, process: Process, op: ops.Attach, size: int | None) -> None:
    assert size is not None
    if (op.length is not None and op.length != size) or op.address % unit(machine):
        raise Refused(errno.EINVAL)
    if op.address + size > machine.config.geometry.address_space:
        raise Refused(errno.ENOMEM)
    if vmas.overlapping(process.space, op.address, op.address + size):
        raise Refused(errno.EEXIST)
