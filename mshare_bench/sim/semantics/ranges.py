"""What happens to a range of any address space, a process's or a domain's: map, unmap, protect, advise, tear down.

Each of these is the work of one kernel call, and orders at most one flush.
"""

import errno

from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import huge, ops, tables, tlb, vmas
from mshare_bench.sim.semantics.state import (
    AddressSpace,
    Backing,
    Credentials,
    Domain,
    Interface,
    Leaf,
    MachineState,
    Refused,
    Vma,
)

__all__ = [
    "ADVICE",
    "change_protection",
    "check_hugetlb",
    "dontneed",
    "drop_space",
    "forget_window",
    "isolate",
    "map_range",
    "own_ranges",
    "parse_prot",
    "reclaim_empty",
    "release_domain",
    "set_advice",
    "unmap_range",
    "writable_at_once",
]

_PROTECTIONS = {"none": (False, False), "r": (True, False), "rw": (True, True)}
# What each advice that stays with the VMA adds and takes away.
ADVICE = {
    "hugepage": (frozenset({"hugepage"}), frozenset({"nohugepage"})),
    "nohugepage": (frozenset({"nohugepage"}), frozenset({"hugepage"})),
    "mergeable": (frozenset({"mergeable"}), frozenset[str]()),
    "unmergeable": (frozenset[str](), frozenset({"mergeable"})),
    "dontdump": (frozenset({"dontdump"}), frozenset[str]()),
    "dodump": (frozenset[str](), frozenset({"dontdump"})),
}


def parse_prot(prot: str) -> tuple[bool, bool]:
    """Read `none`, `r` or `rw`: (readable, writable).

    Raises
    ------
    ConfigError
        When it is none of these.
    """
    if prot not in _PROTECTIONS:
        raise ConfigError(f"prot={prot}: not one of {', '.join(_PROTECTIONS)}")
    return _PROTECTIONS[prot]


def map_range(machine: MachineState, space: AddressSpace, op: ops.Map, backing: Backing | None) -> Vma:
    """Map a range as `op` says. MAP_SHARED|MAP_ANONYMOUS gets a shmem backing of its own."""
    readable, writable = parse_prot(op.prot)
    unit = huge.page_size(machine) if _is_hugetlb(backing) else machine.config.geometry.page
    length = -(-op.length // unit) * unit
    if op.length <= 0 or op.address % unit or op.offset % unit:
        raise Refused(errno.EINVAL)
    if op.address + length > machine.config.geometry.address_space:
        raise Refused(errno.ENOMEM)
    if _is_hugetlb(backing) and not op.shared:
        raise ConfigError(f"shared={op.shared}: private hugetlb mappings are not modelled")
    if vmas.overlapping(space, op.address, op.address + length):
        if not op.replace:
            raise Refused(errno.EEXIST)
        unmap_range(machine, space, op.address, op.address + length)
    offset = op.address if backing is None and not op.shared else op.offset
    if backing is None and op.shared:
        # Linux shmem_zero_setup(): no name, the mapping holds the only reference.
        backing = Backing("", "shm_anon", length, Credentials(memcg=space.memcg), linked=False, refs=0)
        machine.backings.add(backing)
        offset = 0
    vma = Vma(op.address, op.address + length, readable, writable, op.shared, backing, offset)
    vma.may_write = writable or backing is None or backing.kind != "sysv"
    vmas.insert(space, vma)
    return vmas.merge(machine, space, vma, True)


def unmap_range(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Take a range out: VMAs cut, tables that nothing needs any more freed, pages put, one flush.

    Windows go whole or not at all (EINVAL).
    """
    check_hugetlb(machine, space, start, end)
    gone = vmas.overlapping(space, start, end)
    if any(vma.window is not None and (vma.start < start or end < vma.end) for vma in gone):
        raise Refused(errno.EINVAL)
    if not gone:
        return
    isolate(machine, space, start, end)
    windows = []
    for vma in vmas.overlapping(space, start, end):
        if _is_hugetlb(vma.backing):
            huge.unshare_hugetlb(machine, space, vma.start, vma.end)
        if vma.window is None:
            vmas.remove(machine, space, vma)
        else:
            space.vmas.remove(vma)
            windows.append(vma)
    changed = False
    for sharer, low, high in own_ranges(space.domain, start, end):
        changed = tables.zap(machine, sharer, low, high) or changed
    changed = bool(tables.prune(machine, space, start, end)) or changed
    changed = tables.zap(machine, space, start, end) or changed
    if changed:
        tlb.flush(machine, space, start, end)
    for vma in windows:
        forget_window(machine, vma)


def change_protection(
    machine: MachineState, space: AddressSpace, start: int, end: int, readable: bool, writable: bool
) -> bool:
    """Protect a range inside one VMA. Returns whether a translation in use may have lost a right, so that a flush is due."""
    vma = vmas.find(space, start)
    assert vma is not None
    if writable and not vma.may_write:
        raise Refused(errno.EACCES)
    if (vma.readable, vma.writable) == (readable, writable):
        return False
    whole = (vma.start, vma.end) == (start, end)
    check_hugetlb(machine, space, start, end)
    isolate(machine, space, start, end)
    if _is_hugetlb(vma.backing):
        huge.unshare_hugetlb(machine, space, start, end)
    vma = vmas.find(space, start)
    assert vma is not None
    changed = False
    vma.readable, vma.writable = readable, writable
    for table, at, address, _ in list(tables.leaf_slots(machine, space, start, end)):
        leaf = tables.own(machine, space, address, table.level).slots[at]
        assert isinstance(leaf, Leaf)
        changed = changed or (leaf.readable and not readable) or (leaf.writable and not writable)
        leaf.writable = writable and writable_at_once(vma, leaf)
        leaf.readable, leaf.hint = readable, False
    vmas.merge(machine, space, vma, whole)
    return changed


def writable_at_once(vma: Vma, leaf: Leaf) -> bool:
    """Whether an mprotect that allows writing lets the next write through without a fault.

    Linux can_change_pte_writable(): a private page only if it is exclusively ours; shared shmem always; a file that wants to
    hear of writes only where one was made before.
    """
    if not vma.shared:
        return leaf.exclusive
    assert vma.backing is not None
    return vma.backing.kind != "file" or leaf.writable


def dontneed(machine: MachineState, space: AddressSpace, start: int, end: int) -> bool:
    """Zap a range inside one VMA, which stays. Returns whether a flush is due."""
    vma = vmas.find(space, start)
    assert vma is not None
    if _is_hugetlb(vma.backing):
        # Linux madvise_dontneed_free_valid_vma(): the end is rounded down to whole huge pages.
        unit = huge.page_size(machine)
        if start % unit:
            raise Refused(errno.EINVAL)
        end -= end % unit
        huge.unshare_hugetlb(machine, space, start, end)
        return tables.zap(machine, space, start, end)
    huge.split_at(machine, space, start)
    huge.split_at(machine, space, end)
    changed = tables.zap(machine, space, start, end)
    return reclaim_empty(machine, space, start, end) or changed


def reclaim_empty(machine: MachineState, space: AddressSpace, start: int, end: int) -> bool:
    """Free the PTE pages that MADV_DONTNEED covered whole (Linux zap_pte_range() with CONFIG_PT_RECLAIM)."""
    if not machine.config.pt_reclaim:
        return False
    span = machine.config.geometry.span(Level.PTE)
    freed = False
    for low in range(-(-start // span) * span, end - span + 1, span):
        found = tables.slot(machine, space, low, Level.PTE)
        if found is None or found[0].slots:
            continue
        if space.domain is not None:
            tables.unlink_sharers(machine, space, found[0])
        parent = tables.own(machine, space, low, Level.PMD)
        tables.clear_slot(machine, parent, tables.index(machine, Level.PMD, low))
        freed = True
    return freed


def set_advice(machine: MachineState, space: AddressSpace, start: int, end: int, advice: str) -> None:
    """Give a range inside one VMA an advice that stays with it."""
    vma = vmas.find(space, start)
    assert vma is not None
    if advice in ("mergeable", "unmergeable") and (vma.shared or vma.backing is not None):
        return  # Linux vma_ksm_compatible(): the advice is accepted and ignored.
    added, removed = ADVICE[advice]
    wanted = (vma.advice - removed) | added
    if wanted == vma.advice:
        return
    whole = (vma.start, vma.end) == (start, end)
    check_hugetlb(machine, space, start, end)
    isolate(machine, space, start, end)
    part = vmas.find(space, start)
    assert part is not None
    part.advice = wanted
    vmas.merge(machine, space, part, whole)


def isolate(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Make a range begin and end at VMA bounds; a huge page or a shared PMD table across a bound is split or left."""
    for address in (start, end):
        vma = vmas.find(space, address)
        if vma is None or vma.start == address:
            continue
        # Linux hugetlb_split(): only a cut inside a slot ends the sharing there.
        if not _is_hugetlb(vma.backing):
            huge.split_at(machine, space, address)
        elif address % machine.config.geometry.span(Level.PMD):
            huge.unshare_hugetlb(machine, space, address, address + 1)
        vmas.split(space, address)


def check_hugetlb(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Refuse to cut a hugetlb mapping inside a huge page."""
    unit = huge.page_size(machine)
    for vma in vmas.overlapping(space, start, end):
        if _is_hugetlb(vma.backing) and (max(start, vma.start) % unit or min(end, vma.end) % unit):
            raise Refused(errno.EINVAL)


def own_ranges(domain: Domain | None, start: int, end: int) -> list[tuple[AddressSpace, int, int]]:
    """Where the sharers have a range of the domain: in their own tables there they have what they un-shared."""
    if domain is None:
        return []
    return [
        (window.space, start - domain.address + window.vma.start, end - domain.address + window.vma.start)
        for window in domain.windows
    ]


def forget_window(machine: MachineState, vma: Vma) -> None:
    """Strike a window off its domain's list; the last trace of a nameless domain frees it."""
    domain = vma.window
    assert domain is not None
    domain.windows = [window for window in domain.windows if window.vma is not vma]
    release_domain(machine, domain)


def release_domain(machine: MachineState, domain: Domain) -> None:
    """Free a domain that nothing refers to: no window, no name, no living owner.

    With the flag the windows alone count, and the file remains.
    """
    named = domain.linked and machine.config.interface is not Interface.FLAG
    if domain.windows or named or domain.owner is not None or domain not in machine.domains:
        return
    machine.domains.discard(domain)
    machine.names = {key: other for key, other in machine.names.items() if other is not domain}
    drop_space(machine, domain.space)


def drop_space(machine: MachineState, space: AddressSpace) -> None:
    """Tear an address space down (exit_mmap): all that it refers to is put. Its translations need no flush."""
    everything = list(space.vmas)
    space.vmas.clear()
    tables.prune(machine, space, 0, machine.config.geometry.address_space)
    del machine.spaces[space.number]
    tlb.drop_space(machine, space)
    for vma in everything:
        vmas.unlink_file(machine, vma)
        if vma.window is not None:
            forget_window(machine, vma)


def _is_hugetlb(backing: Backing | None) -> bool:
    return backing is not None and backing.kind == "hugetlb"
