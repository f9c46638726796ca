"""Processes, their address spaces and files: spawn, exec, exit, and the page cache written from outside."""

import errno

from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import frames, huge, ops, ranges, tables, tlb
from mshare_bench.sim.semantics.state import AddressSpace, Backing, FrameKind, MachineState, Process, Refused, Table

__all__ = [
    "create_file",
    "leave_space",
    "new_space",
    "punch_file",
    "release_pins",
    "replace_space",
    "spawn",
    "unlink_file",
    "write_file",
]

_KINDS = ("memfd", "sysv", "file", "hugetlb")


def new_space(machine: MachineState, memcg: str) -> AddressSpace:
    """An empty address space. Its root is in no counter, as the PGD is in none of the kernel's."""
    machine.spaces_made += 1
    space = AddressSpace(machine.spaces_made, memcg, Table(tables.top(machine), None, memcg, refs=1))
    machine.spaces[space.number] = space
    return space


def spawn(machine: MachineState, op: ops.Spawn) -> None:
    """A process with an address space of its own."""
    if op.pid in machine.processes:
        raise Refused(errno.EEXIST)
    if not 0 <= op.cpu < machine.config.cpus:
        raise ConfigError(f"cpu={op.cpu}: the machine has {machine.config.cpus}")
    space = new_space(machine, op.credentials.memcg)
    space.users, space.cpus = 1, {op.cpu}
    machine.processes[op.pid] = Process(op.pid, op.credentials, space, op.cpu)


def leave_space(machine: MachineState, process: Process) -> None:
    """A process stops using its address space; the last one tears it down."""
    process.space.users -= 1
    if process.space.users == 0:
        ranges.drop_space(machine, process.space)


def replace_space(machine: MachineState, process: Process) -> None:
    """Execve: the old address space is left, the new one is empty. What the process pinned is dropped, what it owns is not."""
    release_pins(machine, process)
    leave_space(machine, process)
    process.space = new_space(machine, process.credentials.memcg)
    process.space.users, process.space.cpus = 1, {process.cpu}


def release_pins(machine: MachineState, process: Process) -> None:
    """Drop every pin of a process."""
    for frame in process.pins:
        frame.pins -= 1
        frames.put_frame(machine, frame)
    process.pins.clear()


def create_file(machine: MachineState, process: Process, op: ops.CreateFile) -> None:
    """Make a backing with a name."""
    if op.kind not in _KINDS:
        raise ConfigError(f"kind={op.kind}: not one of {', '.join(_KINDS)}")
    if op.name in machine.files:
        raise Refused(errno.EEXIST)
    if op.kind == "hugetlb" and op.size % huge.page_size(machine):
        raise Refused(errno.EINVAL)
    backing = Backing(op.name, op.kind, op.size, process.credentials, op.mode)
    machine.files[op.name] = backing
    machine.backings.add(backing)


def _file(machine: MachineState, name: str) -> Backing:
    if name not in machine.files:
        raise Refused(errno.ENOENT)
    return machine.files[name]


def write_file(machine: MachineState, process: Process, op: ops.WriteFile) -> None:
    """write(2): page cache pages exist afterwards. shmem grows, a segment or a hugetlb file cannot be written so."""
    backing = _file(machine, op.name)
    page = machine.config.geometry.page
    if backing.kind in ("sysv", "hugetlb"):
        raise Refused(errno.EINVAL)
    if op.offset % page or op.length % page:
        raise ConfigError(f"offset={op.offset} length={op.length}: whole pages are modelled only")
    backing.size = max(backing.size, op.offset + op.length)
    for index in range(op.offset // page, (op.offset + op.length) // page):
        frame, sub = frames.cache_page(machine, backing, index, process.credentials.memcg)
        frames.write_byte(machine, frame, sub, op.value)


def punch_file(machine: MachineState, op: ops.PunchFile) -> None:
    """Take pages out of a file: every mapping of them is zapped (a flush each), the tables stay, the cache lets go."""
    backing = _file(machine, op.name)
    page = machine.config.geometry.page
    unit = page if all(frame.pages == 1 for frame, _ in backing.pages.values()) else huge.page_size(machine)
    if op.offset % unit or op.length % unit:
        raise ConfigError(f"offset={op.offset} length={op.length}: whole pages are modelled only")
    for space, vma in backing.mappers:
        start = max(vma.start, vma.start + op.offset - vma.offset)
        end = min(vma.end, vma.start + op.offset + op.length - vma.offset)
        if start < end:
            _zap_cached(machine, space, start, end, backing.kind == "hugetlb")
    frames.drop_cache(machine, backing, range(op.offset // page, (op.offset + op.length) // page))


def _zap_cached(machine: MachineState, space: AddressSpace, start: int, end: int, hugetlb: bool) -> None:
    """Zap what maps the page cache in a range, in sharers' own tables too; private copies stay (even_cows=0)."""
    if hugetlb:
        huge.unshare_hugetlb(machine, space, start, end)
    own = ranges.own_ranges(space.domain, start, end)
    found = [
        (table, at)
        for where, low, high in [(space, start, end), *own]
        for table, at, _, leaf in tables.leaf_slots(machine, where, low, high)
        if leaf.frame.kind is FrameKind.CACHE
    ]
    for table, at in found:
        tables.clear_slot(machine, table, at)
    if found:
        tlb.flush(machine, space, start, end)


def unlink_file(machine: MachineState, process: Process, name: str) -> None:
    """Take a file's name away; its pages stay as long as it is mapped."""
    backing = _file(machine, name)
    if backing.credentials.uid != process.credentials.uid and machine.config.strict_permissions:
        raise Refused(errno.EPERM)
    del machine.files[name]
    backing.linked = False
    frames.put_backing(machine, backing)
