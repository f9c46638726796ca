"""A placement as the kernel is told it: where each agent runs, by which policy it allocates, and where the data goes.

Page tables lie where the task that first touches is told to allocate, whatever the policy of the mapping. So the layout of tables
becomes the *task's* policy, in force before the agent's first mapping, and the layout of shared data becomes the *file's*.
Private data is allocated by its task as well, so it lies as its tables do. What no policy of a stock kernel does (replicas,
common tables that follow a majority, uneven shares) is refused, not approximated.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cell import Point
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.domain.topology import Machine
from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms.contract import Traits
from mshare_bench.placement.assignment import Shares
from mshare_bench.real.agent.image import Binding
from mshare_bench.real.moves import way_of
from mshare_bench.real.numa import Mode, bind_file, task_policy, unavailable
from mshare_bench.real.programs import Backed, Casting
from mshare_bench.real.sysfs import read_machine
from mshare_bench.results.rows import Rows
from mshare_bench.sim.placed_rows import add_groups, machine_name
from mshare_bench.sim.places import Held, Places, places_of

__all__ = ["Layout", "Seating", "add_measured", "data_layout", "data_written", "place_data", "seat", "seated_point"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A memory policy: its mode and its nodes."""

    mode: Mode
    nodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Seating:
    """Where agents run and allocate.

    Attributes
    ----------
    places
        The placement that it stands for.
    bindings, binding
        Distinct bindings, and that of each agent, the populator last.
    way
        Nodes between which the data is moved in the end; None for no move.
    page
        Bytes of a page as it is mapped.
    """

    places: Places
    bindings: tuple[Binding, ...]
    binding: NDArray[np.int64]
    way: tuple[int, int] | None
    page: int


def seated_point(point: Point, machine: Machine | None = None) -> Places | None:
    """Place a point on the machine that it is to run on; None where it asks for no placement.

    Raises
    ------
    CapabilityError
        When this machine is not the one that the point's topology describes.
    PlacementError
        As `places_of` does.
    """
    if point.machines is None:
        return None
    wanted, here = point.machines.machine(), machine or read_machine()
    if point.machines.machines > 1 or _shape(wanted) != _shape(here):
        raise CapabilityError(
            f"topology={point.topology}: this machine is another one ({_described(here)}, not {_described(wanted)} on "
            f"{point.machines.machines} machine{'s' * (point.machines.machines > 1)}); host=guest shows small topologies"
        )
    return places_of(point)


def data_layout(places: Places) -> Layout:
    """Where shared data goes; where nothing is shared, the node of the first process.

    Raises
    ------
    CapabilityError
        When no policy of the kernel lays data out so.
    """
    part = places.parts[0]
    if part.copy is None:
        return Layout(Mode.BIND, frozenset({part.held[0].seat.node}))
    return _layout(part.copy.data, "data")


def seat(places: Places, casting: Casting, traits: Traits, shared: bool) -> Seating:
    """Give every agent its binding; `shared` says whether the agents have tables in common.

    Raises
    ------
    CapabilityError
        When no policy of the kernel does what the placement says.
    """
    if (reason := unavailable()) is not None:
        raise CapabilityError(f"placement: {reason}")
    if traits.inherited is not None:
        raise CapabilityError("placement: what a parent maps for all lies where it runs, and it is not placed")
    part, machine = places.parts[0], places.problem.topology.machine()
    bindings: dict[Binding, int] = {}
    binding = np.zeros(casting.agents + 1, np.int64)
    for held in part.held:
        number = bindings.setdefault(_binding(held, machine, traits), len(bindings))
        for name, (start, stop) in held.runs.items():
            begin = next(begin for group, begin, _ in casting.groups if group.name == name)
            binding[begin + start : begin + stop] = number
    first = part.held[0].seat
    if (
        shared
        and part.copy is not None
        and _layout(part.copy.tables, "page tables") != _layout(first.tables, "page tables")
    ):
        raise CapabilityError(
            "placement: common tables lie by the policy of the task that first touches, not by another"
        )
    # The populator writes the data on behalf of the first process, and allocates it by its own policy.
    data = data_layout(places)
    home = first.node if data.mode == Mode.INTERLEAVE else min(data.nodes)
    cpus = frozenset(machine.nodes[machine.index(home)].cpus) or None
    alone = cpus is not None and data.mode == Mode.BIND
    populator = Binding(cpus) if alone else Binding(cpus, data.mode, data.nodes)
    binding[-1] = bindings.setdefault(populator, len(bindings))
    way = way_of(places) if PlacementChoice.parse(part.point.placement).horizon else None
    return Seating(places, tuple(bindings), binding, way, part.point.page)


@contextlib.contextmanager
def data_written(places: Places) -> Iterator[None]:
    """Have what this process writes itself (a file's page cache, a region's own data) lie where the data belongs."""
    data = data_layout(places)
    try:
        with task_policy(data.mode, data.nodes):
            yield
    except OSError as error:
        raise CapabilityError(f"placement: {error.strerror}") from error


def place_data(backed: Sequence[Backed], places: Places) -> None:
    """Tell the kernel where the data of files goes that nobody writes before the processes touch it.

    Unasked it lies as the page tables of the first process do. A file in shared memory takes another policy; one in hugetlbfs
    does not keep it, and a System V segment can't be told.

    Raises
    ------
    CapabilityError
        When a region can't be told of, or the kernel refuses.
    """
    data = data_layout(places)
    if data == _layout(places.parts[0].held[0].seat.tables, "page tables"):
        return
    for one in backed:
        for backing in one.instances:
            fd = backing.data_fd if backing.data_fd >= 0 else backing.fd
            if fd < 0 or one.recipe.hugepages:
                raise CapabilityError(f"placement: {one.placed.region.name} has no file that keeps a policy of its own")
            try:
                bind_file(fd, one.placed.region.size, data.mode, data.nodes)
            except OSError as error:
                raise CapabilityError(f"placement: the policy of {one.placed.region.name}: {error.strerror}") from error


def add_measured(
    key: Mapping[str, Any],
    places: Places,
    data: Mapping[int, int] | None,
    tables: Mapping[int, int] | None,
    rows: Rows,
) -> None:
    """Add rows of `groups`, as they were bound, and of `nodes`, as they were seen; what was not seen is null."""
    add_groups(key, places, rows)
    for (machine, node), use in places.nodes.items():
        rows.add(
            "nodes",
            **key,
            machine=machine_name(places.problem.topology, machine),
            node=node,
            data_bytes=None if data is None else data.get(node, 0),
            page_table_bytes=None if tables is None else tables.get(node, 0),
            processes=use.processes,
        )


def _binding(held: Held, machine: Machine, traits: Traits) -> Binding:
    one = held.seat
    if one.replicated:
        raise CapabilityError("placement.tables=replicate: this kernel has no replicas of page tables")
    tables = _layout(one.tables, "page tables")
    private = traits.data != "shared"
    if private and _layout(one.data, "data") != tables:
        raise CapabilityError("placement: a task's own data lies by the same policy as its page tables, not by another")
    cpus = frozenset(machine.nodes[machine.index(one.node)].cpus)
    if tables == Layout(Mode.BIND, frozenset({one.node})):
        return Binding(cpus)  # where it runs, as a kernel does unasked
    return Binding(cpus, tables.mode, tables.nodes)


def _layout(shares: Shares, what: str) -> Layout:
    nodes = frozenset(node for node, _ in shares)
    if len(nodes) == 1:
        return Layout(Mode.BIND, nodes)
    if len({round(share * len(nodes), 6) for _, share in shares}) == 1:
        return Layout(Mode.INTERLEAVE, nodes)
    raise CapabilityError(f"placement: no policy of the kernel lays {what} out in uneven shares")


def _shape(machine: Machine) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return tuple((node.id, node.cpus) for node in machine.nodes)


def _described(machine: Machine) -> str:
    return f"{len(machine.nodes)} node{'s' * (len(machine.nodes) > 1)} with {machine.cpus} CPUs"
