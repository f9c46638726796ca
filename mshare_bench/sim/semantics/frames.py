"""Physical pages: allocated, counted, charged to a memory cgroup, freed by the last put; and the page caches of backings."""

from mshare_bench.sim.semantics.state import Backing, Frame, FrameKind, MachineState

__all__ = [
    "cache_page",
    "charge",
    "copy_bytes",
    "drop_cache",
    "free_frame",
    "get_backing",
    "get_frame",
    "new_frame",
    "put_backing",
    "put_frame",
    "read_byte",
    "write_byte",
]


def charge(machine: MachineState, memcg: str, what: str, pages: int) -> None:
    """Add pages (or, negative, give them back) to what a memory cgroup is charged for `tables` or `data`."""
    left = machine.charges.get((memcg, what), 0) + pages
    if left:
        machine.charges[memcg, what] = left
    else:
        machine.charges.pop((memcg, what), None)


def new_frame(machine: MachineState, kind: FrameKind, memcg: str, pages: int = 1) -> Frame:
    """Allocate a zeroed frame with no reference yet."""
    machine.frames_made += 1
    frame = Frame(machine.frames_made, kind, memcg, pages)
    machine.frames[frame.number] = frame
    charge(machine, memcg, "data", pages)
    return frame


def get_frame(frame: Frame) -> Frame:
    """Take a reference; the zero pages count none."""
    if frame.kind is not FrameKind.ZERO:
        frame.refs += 1
    return frame


def put_frame(machine: MachineState, frame: Frame) -> None:
    """Drop a reference; the last one frees the frame."""
    if frame.kind is FrameKind.ZERO:
        return
    frame.refs -= 1
    if frame.refs == 0:
        free_frame(machine, frame)


def free_frame(machine: MachineState, frame: Frame) -> None:
    """Give a frame back."""
    del machine.frames[frame.number]
    charge(machine, frame.memcg, "data", -frame.pages)
    for sub in range(frame.pages):
        machine.contents.pop((frame.number, sub), None)


def read_byte(machine: MachineState, frame: Frame, sub: int) -> int:
    """First byte of a base page."""
    return machine.contents.get((frame.number, sub), 0)


def write_byte(machine: MachineState, frame: Frame, sub: int, value: int) -> None:
    """Set the first byte of a base page."""
    if value:
        machine.contents[frame.number, sub] = value
    else:
        machine.contents.pop((frame.number, sub), None)


def copy_bytes(machine: MachineState, source: Frame, sub: int, target: Frame) -> Frame:
    """Copy a base page into a frame of one page."""
    write_byte(machine, target, 0, read_byte(machine, source, sub))
    return target


def cache_page(
    machine: MachineState, backing: Backing, index: int, memcg: str, *, huge: bool = False
) -> tuple[Frame, int]:
    """Find page `index` of a backing, allocating it if it is a hole: (frame, first base page in it).

    With `huge`, a hole is filled with one huge frame when the whole aligned 2 MiB is a hole within the size.
    """
    found = backing.pages.get(index)
    if found is not None:
        return found
    entries = machine.config.geometry.spans[0] // machine.config.geometry.page
    first = index - index % entries
    fits = (first + entries) * machine.config.geometry.page <= backing.size
    if huge and fits and not any(at in backing.pages for at in range(first, first + entries)):
        frame = get_frame(new_frame(machine, FrameKind.CACHE, memcg, entries))
        for at in range(entries):
            backing.pages[first + at] = (frame, at)
    else:
        backing.pages[index] = (get_frame(new_frame(machine, FrameKind.CACHE, memcg)), 0)
    return backing.pages[index]


def drop_cache(machine: MachineState, backing: Backing, indices: range) -> None:
    """Take pages out of the page cache. A huge frame goes with its first page, so ranges must hold it whole."""
    for index in [at for at in backing.pages if at in indices]:
        frame, sub = backing.pages.pop(index)
        if sub == 0:
            put_frame(machine, frame)


def get_backing(backing: Backing | None) -> Backing | None:
    """Take a reference for a VMA."""
    if backing is not None:
        backing.refs += 1
    return backing


def put_backing(machine: MachineState, backing: Backing | None) -> None:
    """Drop a reference; with the last one the page cache goes."""
    if backing is None:
        return
    backing.refs -= 1
    if backing.refs == 0:
        drop_cache(machine, backing, range(backing.size // machine.config.geometry.page + 1))
        machine.backings.discard(backing)
