"""mmap, munmap, mprotect and madvise as a process calls them, and the touches of its memory.

Windows on a domain among the range are left to `domains`, which knows what each interface makes of them.
"""

import errno

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import domains, faults, frames, ops, ranges, tables, tlb, vmas
from mshare_bench.sim.semantics.state import Frame, MachineState, Process, Refused, Signalled, Vma

__all__ = ["FAULTS_AT_MOST", "access", "advise", "fault", "map_memory", "protect", "touch", "unmap"]


FAULTS_AT_MOST = 8
"""One to link, one to fill, and one for each level below a table that a sharer has un-shared; more would never end."""


def map_memory(machine: MachineState, process: Process, op: ops.Map) -> None:
    """mmap(MAP_FIXED), or MAP_FIXED_NOREPLACE without `replace`."""
    backing = None
    if op.name is not None:
        backing = machine.files.get(op.name)
        if backing is None:
            raise Refused(errno.ENOENT)
    ranges.map_range(machine, process.space, op, backing)


def unmap(machine: MachineState, process: Process, op: ops.Unmap) -> None:
    """munmap: the process's own memory, whole windows, and of a part of a window what the interface makes of it."""
    start, end = op.address, _end(machine, op.address, op.length)
    if start == end:
        raise Refused(errno.EINVAL)
    inside = vmas.overlapping(process.space, start, end)
    cut = [vma for vma in inside if vma.window is not None and (vma.start < start or end < vma.end)]
    for vma in cut:
        domains.check_window_change(machine, vma)
    ranges.check_hugetlb(machine, process.space, start, end)
    for vma in cut:
        domains.unmap_part(machine, vma, *_common(vma, start, end))
        # A window that is cut holds the start or the end of the range (or both): the rest lies beside it.
        start, end = (vma.end, end) if vma.start <= start else (start, vma.start)
    if start < end:
        ranges.unmap_range(machine, process.space, start, end)


def protect(machine: MachineState, process: Process, op: ops.Protect) -> None:
    """mprotect; at a hole it stops with ENOMEM, and what lies before the hole is done."""
    end = _end(machine, op.address, op.length)
    readable, writable = ranges.parse_prot(op.prot)
    at, changed = op.address, False
    try:
        while at < end:
            vma = vmas.find(process.space, at)
            if vma is None:
                raise Refused(errno.ENOMEM)
            stop = min(vma.end, end)
            if vma.window is not None:
                domains.check_window_change(machine, vma)
                domains.protect_part(machine, vma, at, stop, readable, writable)
            else:
                changed = ranges.change_protection(machine, process.space, at, stop, readable, writable) or changed
            at = stop
    finally:
        if changed:
            tlb.flush(machine, process.space, op.address, end)


def advise(machine: MachineState, process: Process, op: ops.Advise) -> None:
    """madvise: holes are passed over and reported with ENOMEM at the end; a window takes what its interface lets it."""
    end = _end(machine, op.address, op.length)
    if op.advice != "dontneed" and op.advice not in ranges.ADVICE:
        raise ConfigError(f"advice={op.advice}: not one of dontneed, {', '.join(ranges.ADVICE)}")
    at, hole, changed = op.address, False, False
    try:
        while at < end:
            vma = next((one for one in process.space.vmas if one.end > at), None)
            if vma is None or vma.start >= end:
                raise Refused(errno.ENOMEM)
            hole = hole or vma.start > at
            start, stop = _common(vma, at, end)
            if vma.window is not None:
                domains.advise_part(machine, vma, start, stop, op.advice)
            elif op.advice == "dontneed":
                changed = ranges.dontneed(machine, process.space, start, stop) or changed
            else:
                ranges.set_advice(machine, process.space, start, stop, op.advice)
            at = stop
    finally:
        if changed:
            tlb.flush(machine, process.space, op.address, end)
    if hole:
        raise Refused(errno.ENOMEM)


def touch(machine: MachineState, process: Process, op: ops.Touch) -> bytes | None:
    """Access a byte at every step; a read returns what it saw."""
    seen = bytearray()
    for address in range(op.address, op.address + op.length, op.step):
        frame, sub = access(machine, process, address, op.write)
        if op.write:
            frames.write_byte(machine, frame, sub, op.value)
        else:
            seen.append(frames.read_byte(machine, frame, sub))
    return None if op.write else bytes(seen)


def access(machine: MachineState, process: Process, address: int, write: bool) -> tuple[Frame, int]:
    """What a CPU does for one access: look into its TLB, else walk, else fault and begin again."""
    space, page = process.space, address // machine.config.geometry.page
    for _ in range(FAULTS_AT_MOST):
        held = tlb.lookup(machine, process.cpu, space, page)
        if held is not None and (held[3] if write else held[2]):
            return held[0], held[1]
        found = tables.translate(machine, space, address)
        if found is not None:
            leaf, level, writable = found
            if leaf.readable and not leaf.hint and (writable or not write):
                sub = leaf.sub + (page % machine.huge_zero.pages if level == Level.PMD else 0)
                tlb.fill(machine, process.cpu, space, page, (leaf.frame, sub, True, writable))
                return leaf.frame, sub
        fault(machine, process, address, write)
    raise AssertionError(f"process {process.pid} faults at {address:#x} for ever")


def fault(machine: MachineState, process: Process, address: int, write: bool) -> None:
    """A page fault of a process: counted if it is resolved, a SIGSEGV if nothing allows the access."""
    vma = vmas.find(process.space, address)
    if vma is not None and vma.window is not None:
        domains.fault(machine, process, vma, address, write)
        return
    if vma is None or not faults.access_allowed(vma, write):
        raise Signalled
    process.linking_faults += faults.fill(machine, process.space, vma, address, write)
    process.minor_faults += 1


def _common(vma: Vma, start: int, end: int) -> tuple[int, int]:
    return max(vma.start, start), min(vma.end, end)


def _end(machine: MachineState, address: int, length: int) -> int:
    page = machine.config.geometry.page
    if address % page or length < 0:
        raise Refused(errno.EINVAL)
    return address + -(-length // page) * page
