"""VMAs: finding, cutting, merging, inserting, removing.

Where the bounds of a VMA lie is visible from outside: fault-around stops at them, a huge page must fit between them, and a
PMD table of huge pages is shared only when one VMA covers it. So merging follows the kernel's rules (mm/vma.c in v6.18),
anonymous groups and all.
"""

from bisect import bisect_right

from mshare_bench.sim.semantics import frames
from mshare_bench.sim.semantics.state import AddressSpace, AnonGroup, Backing, MachineState, Vma

__all__ = [
    "attributes",
    "find",
    "insert",
    "link_file",
    "merge",
    "overlapping",
    "prepare_anon",
    "remove",
    "split",
    "unlink_file",
]


def find(space: AddressSpace, address: int) -> Vma | None:
    """The VMA that holds an address."""
    at = bisect_right(space.vmas, address, key=_start) - 1
    return space.vmas[at] if at >= 0 and address < space.vmas[at].end else None


def overlapping(space: AddressSpace, start: int, end: int) -> list[Vma]:
    """The VMAs that hold part of a range, in order of address."""
    return [vma for vma in space.vmas if vma.start < end and start < vma.end]


def split(space: AddressSpace, address: int) -> None:
    """Cut the VMA around an address in two, so that one starts there. Its pages are not touched."""
    vma = find(space, address)
    if vma is None or vma.start == address:
        return
    upper = Vma(
        address,
        vma.end,
        vma.readable,
        vma.writable,
        vma.shared,
        vma.backing,
        vma.position(address),
        vma.advice,
        vma.anon,
        vma.inherited,
        vma.window,
        vma.may_write,
    )
    vma.end = address
    space.vmas.insert(space.vmas.index(vma) + 1, upper)
    link_file(space, upper)
    if vma.backing is not None:
        # Linux vma_complete() puts both parts into the tree anew.
        vma.backing.mappers = [mapper for mapper in vma.backing.mappers if mapper[1] is not vma]
        _enter(vma.backing, space, vma)


def insert(space: AddressSpace, vma: Vma) -> None:
    """Add a VMA to free address space, with its reference on the backing. It does not merge by itself."""
    space.vmas.insert(bisect_right(space.vmas, vma.start, key=_start), vma)
    link_file(space, vma)


def remove(machine: MachineState, space: AddressSpace, vma: Vma) -> None:
    """Take a VMA away, with its reference on the backing. Its pages must be gone or go with its tables."""
    space.vmas.remove(vma)
    unlink_file(machine, vma)


def link_file(space: AddressSpace, vma: Vma, parent: Vma | None = None) -> None:
    """Enter a VMA among those that map its backing: by offset, behind its equals; a fork's child right behind its parent."""
    if vma.backing is None:
        return
    frames.get_backing(vma.backing)
    if parent is None:
        _enter(vma.backing, space, vma)
    else:
        at = next(index for index, mapper in enumerate(vma.backing.mappers) if mapper[1] is parent)
        vma.backing.mappers.insert(at + 1, (space, vma))


def unlink_file(machine: MachineState, vma: Vma) -> None:
    """Strike a VMA off its backing's list and drop its reference."""
    if vma.backing is not None:
        vma.backing.mappers = [mapper for mapper in vma.backing.mappers if mapper[1] is not vma]
        frames.put_backing(machine, vma.backing)


def _enter(backing: Backing, space: AddressSpace, vma: Vma) -> None:
    backing.mappers.insert(bisect_right(backing.mappers, vma.offset, key=lambda mapper: mapper[1].offset), (space, vma))


def attributes(vma: Vma) -> tuple[object, ...]:
    """What two neighbours must have in common to become one."""
    return vma.readable, vma.writable, vma.shared, vma.backing, vma.advice, vma.window, vma.may_write


def merge(machine: MachineState, space: AddressSpace, vma: Vma, whole: bool) -> Vma:
    """Merge a VMA that is new, or whose attributes changed, with its neighbours where they fit; returns what it became.

    `whole` says that it was a VMA before and would disappear, which one with a close operation (SysV) may not.
    """
    if whole and vma.backing is not None and vma.backing.kind == "sysv":
        return vma
    at = space.vmas.index(vma)
    before = space.vmas[at - 1] if at else None
    after = space.vmas[at + 1] if at + 1 < len(space.vmas) else None
    left = before is not None and _adjacent(before, vma) and _anon_fits(before, vma)
    right = after is not None and _adjacent(vma, after) and _anon_fits(after, vma)
    if left and right and before is not None and after is not None:
        right = before.anon is None or after.anon is None or before.anon is after.anon
    if right and after is not None:
        vma = _join(machine, space, vma, after)
    if left and before is not None:
        vma = _join(machine, space, before, vma)
    return vma


def prepare_anon(space: AddressSpace, vma: Vma) -> None:
    """The first anonymous page of a VMA gives it an anonymous group: a neighbour's, if the two could merge but for access."""
    if vma.anon is not None:
        return
    at = space.vmas.index(vma)
    for near, lower, upper in (
        (space.vmas[at + 1] if at + 1 < len(space.vmas) else None, vma, None),
        (space.vmas[at - 1] if at else None, None, vma),
    ):
        if near is None or near.anon is None or near.inherited:
            continue
        if _adjacent(lower or near, upper or near, access=False):
            vma.anon = near.anon
            return
    vma.anon = AnonGroup()


def _start(vma: Vma) -> int:
    return vma.start


def _adjacent(lower: Vma, upper: Vma, *, access: bool = True) -> bool:
    # hugetlb and windows are VM_DONTEXPAND or refuse to split, so they never merge.
    if lower.window is not None or (lower.backing is not None and lower.backing.kind == "hugetlb"):
        return False
    if lower.end != upper.start or lower.position(lower.end) != upper.offset:
        return False
    return attributes(lower)[0 if access else 2 :] == attributes(upper)[0 if access else 2 :]


def _anon_fits(neighbour: Vma, vma: Vma) -> bool:
    # Linux is_mergeable_anon_vma(): one that came through a fork takes nobody in, and is not taken in.
    if neighbour.anon is None and vma.anon is not None:
        return not vma.inherited
    if neighbour.anon is not None and vma.anon is None:
        return not neighbour.inherited
    return neighbour.anon is vma.anon


def _join(machine: MachineState, space: AddressSpace, lower: Vma, upper: Vma) -> Vma:
    lower.end = upper.end
    if lower.anon is None:
        lower.anon, lower.inherited = upper.anon, upper.inherited
    remove(machine, space, upper)
    return lower
