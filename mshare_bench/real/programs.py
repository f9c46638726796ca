"""From a point to what the agents do: one program per distinct behaviour, and the backing of every region.

The phases of a program: `attach`, `write`, `read`, `fork` (a child that ends at once),
`protect`, `unmap`. The extra agent behind the last one is the
*populator*: its phase `populate` writes all data once and lets go of it, through the same mapping as everybody's, so that
huge pages come out as the mechanism asks for them and no table of the populator is left to be counted.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.pages import PageSet
from mshare_bench.domain.workload import Cohort, Placed, ProcessGroup, Touch, Workload, placed_regions
from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms.contract import Backing, Mechanism, Recipe, Traits
from mshare_bench.real.agent import ops as o
from mshare_bench.sim.tables import union_pages

__all__ = ["Backed", "Casting", "cast", "close_backings", "open_backings", "present_pages"]


@dataclass(frozen=True, slots=True)
class Backed:
    """A region at its address, how to set it up, and what each instance of it is made of."""

    placed: Placed
    recipe: Recipe
    instances: tuple[Backing, ...]


@dataclass(frozen=True, slots=True)
class Casting:
    """Who does what.

    Attributes
    ----------
    programs
        Distinct programs; the last is the populator's.
    assignment
        Program of each agent, the populator last.
    prefork
        What the parent does before it forks the agents; empty where each process maps by itself. The parent is then the
        first process of the first group, and the agents are the others.
    groups
        (group, first agent, end) of each process group.
    """

    programs: tuple[o.Program, ...]
    assignment: NDArray[np.int64]
    prefork: tuple[o.Op, ...]
    groups: tuple[tuple[ProcessGroup, int, int], ...]

    @property
    def agents(self) -> int:
        """Agents that stand for processes of the workload."""
        return len(self.assignment) - 1


def open_backings(point: Point, mechanism: Mechanism, geometry: Geometry) -> list[Backed]:
    """Make every region's backing.

    Raises
    ------
    CapabilityError
        When the mechanism can't be had here.
    ConfigError
        When the mechanism can't map a region as asked.
    """
    backed: list[Backed] = []
    try:
        for placed in placed_regions(point.workload, point.offset, geometry):
            mechanism.check(placed, point.page)
            recipe = mechanism.recipe(placed, point.page)
            instances: list[Backing] = []
            backed.append(Backed(placed, recipe, ()))
            for _ in range(placed.region.instances):
                instances.append(mechanism.open(placed.region.size, point.page))
                backed[-1] = Backed(placed, recipe, tuple(instances))
    except OSError as error:
        close_backings(backed)
        raise CapabilityError(f"mechanism={mechanism.name}: its memory can't be made here: {error.strerror}") from error
    except BaseException:
        close_backings(backed)
        raise
    return backed


def close_backings(backed: Sequence[Backed]) -> None:
    """Give every backing back."""
    for one in backed:
        for backing in one.instances:
            backing.close()


def cast(point: Point, backed: Sequence[Backed], traits: Traits) -> Casting:
    """Give every process its program.

    Raises
    ------
    CapabilityError
        When regions with several instances meet one address space, where they can't all have the same address; when a
        parent would have no child.
    """
    by_name = {one.placed.region.name: one for one in backed}
    inherited = traits.inherited is not None
    one_mm = traits.one_mm
    if (one_mm or inherited) and any(len(one.instances) > 1 for one in backed):
        raise CapabilityError(
            f"mechanism={point.mechanism}: a region with several instances needs processes that map it each"
        )
    if inherited and point.workload.processes < 2:
        raise CapabilityError(
            f"processes={point.workload.processes}: mechanism={point.mechanism} needs a parent and a child"
        )
    workload = point.workload.writing_all() if traits.data == "private" else point.workload
    programs: list[o.Program] = []
    known: dict[object, int] = {}
    assignment: list[int] = []
    groups = []
    for group in workload.groups:
        start = len(assignment)
        for number, cohort in enumerate(group.cohorts):
            for index in range(cohort.processes):
                maps = not inherited and not (one_mm and assignment)
                key = (group.name, number, _variety(cohort, by_name, index), maps)
                if key not in known:
                    known[key] = len(programs)
                    programs.append(_program(cohort, by_name, index, maps, inherited, numbered=traits.merged > 0))
                assignment.append(known[key])
        groups.append((group, start, len(assignment)))
    prefork: list[o.Op] = []
    if inherited:
        del assignment[0]
        groups = [(group, max(0, start - 1), end - 1) for group, start, end in groups]
        for one in backed:
            prefork += [*_map(one, one.instances[0]), *_parent_touches(one, workload, traits)]
    populate = point.populate == "controller" and traits.data == "shared" and not traits.resident and not inherited
    ops = [
        op
        for one in backed
        for number, backing in enumerate(one.instances)
        if backing.data_fd < 0
        for op in _populate(one, number, present_pages(point, one.placed.region.name))
    ]
    programs.append({"populate": ops if populate else []})
    assignment.append(len(programs) - 1)
    return Casting(tuple(programs), np.array(assignment), tuple(prefork), tuple(groups))


def _parent_touches(one: Backed, workload: Workload, traits: Traits) -> list[o.Op]:
    """Private memory: the parent writes all that any process will touch. Shared: it touches as the first process does."""
    name, address = one.placed.region.name, one.placed.address
    if traits.inherited == "refault":
        first = [touch for touch in workload.groups[0].cohorts[0].touches if touch.region == name]
        return [
            op
            for touch in first
            for write, pages in ((True, touch.written), (False, touch.read))
            for op in _touches(address, pages, touch, 0, write)
        ]
    rows = union_pages(workload, name)
    listed = np.concatenate([np.arange(start, end + 1) for start, end in rows]) if len(rows) else np.empty(0)
    return [o.Touch(address, len(listed), pages=listed.astype(np.uint32), stride=mmap.PAGESIZE, write=True)]


def _variety(cohort: Cohort, by_name: dict[str, Backed], index: int) -> tuple[int, ...]:
    """What tells the index-th process of a cohort from the others: its slice, or its instances."""
    if any(touch.stride for touch in cohort.touches):
        return (index,)
    return tuple(index % len(by_name[touch.region].instances) for touch in cohort.touches)


def _program(
    cohort: Cohort, by_name: dict[str, Backed], index: int, maps: bool, inherited: bool, numbered: bool
) -> o.Program:
    attach: list[o.Op] = []
    write: list[o.Op] = []
    read: list[o.Op] = []
    protect: list[o.Op] = []
    unmap: list[o.Op] = []
    for touch in cohort.touches:
        one = by_name[touch.region]
        backing = one.instances[index % len(one.instances)]
        address, length = one.placed.address, backing.map_length or one.placed.region.size
        if maps:
            attach += _map(one, backing)
        if maps or inherited:
            protect += [o.Protect(address, length, mmap.PROT_READ)] if one.recipe.protectable else []
            unmap.append(o.Unmap(address, length))
        write += _touches(address, touch.written, touch, index, True, numbered)
        read += _touches(address, touch.read, touch, index, False)
    fork: list[o.Op] = [] if inherited else [o.Fork("child")]
    return {
        "attach": attach, "write": write, "read": read, "fork": fork, "child": [], "protect": protect, "unmap": unmap,
    }  # fmt: skip


def _map(one: Backed, backing: Backing) -> list[o.Op]:
    address, recipe = one.placed.address, one.recipe
    size = backing.map_length or one.placed.region.size
    ops: list[o.Op]
    if backing.shmid >= 0:
        ops = [o.AttachSegment(address, size, backing.shmid, advice=recipe.advice)]
    else:
        ops = [o.Map(address, size, flags=recipe.flags, fd=backing.fd, offset=backing.offset, advice=recipe.advice)]
    ops += [o.Advise(address + start, length, advice) for start, length, advice in recipe.advise_splits]
    return ops


def present_pages(point: Point, region: str) -> NDArray[np.uint32] | None:
    """Pages of a region that hold data beforehand; None for all."""
    if point.whole:
        return None
    rows = union_pages(point.workload, region)
    pages = [np.arange(start, end + 1, dtype=np.uint32) for start, end in rows]
    return np.concatenate(pages) if pages else np.empty(0, np.uint32)


def _populate(one: Backed, number: int, pages: NDArray[np.uint32] | None) -> list[o.Op]:
    address, backing = one.placed.address, one.instances[number]
    count = -(-one.placed.region.size // mmap.PAGESIZE) if pages is None else len(pages)
    data = o.Touch(address, count, pages=pages, stride=mmap.PAGESIZE, write=True)
    return [*_map(one, backing), data, o.Unmap(address, backing.map_length or one.placed.region.size)]


def _touches(address: int, pages: PageSet, touch: Touch, index: int, write: bool, numbered: bool = False) -> list[o.Op]:
    shift = touch.stride * index
    ops: list[o.Op] = []
    for run in pages.runs:
        if run.whole:
            count, first, step, listed = run.end - run.begin, run.first + run.step * run.begin + shift, run.step, None
        else:
            listed = (run.pages() + shift).astype(np.uint32)
            count, first, step = len(listed), 0, 1
        ops.append(
            o.Touch(
                address,
                count,
                first,
                step,
                stride=mmap.PAGESIZE,
                pages=listed,
                write=write,
                add_agent=write and not numbered,
                number=write and numbered,
            )
        )
    return ops
