"""Rows of a placed point: its groups by machine and node, and what every node holds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mshare_bench.domain.topology import Topology
from mshare_bench.results.rows import Rows

if TYPE_CHECKING:
    from mshare_bench.sim.places import Places

__all__ = ["add_groups", "add_places", "machine_name"]


def machine_name(topology: Topology, number: int) -> str:
    """Name a machine of a topology: its kind, and its number where there are several."""
    kind = topology.machine(number).name
    return kind if topology.machines == 1 else f"{kind}:{number}"


def add_groups(key: Mapping[str, Any], places: "Places", rows: Rows) -> None:
    """Add rows of `groups`, by machine and node."""
    topology = places.problem.topology
    roles = {group.name: group.role for part in places.parts for group in part.point.workload.groups}
    seated: dict[tuple[str, int, int], int] = {}
    for part in places.parts:
        for held in part.held:
            for group, (start, stop) in held.runs.items():
                where = (group, part.machine, held.seat.node)
                seated[where] = seated.get(where, 0) + stop - start
    for (group, machine, node), processes in seated.items():
        who = {"group": group, "role": roles[group], "processes": processes}
        rows.add("groups", **key, **who, machine=machine_name(topology, machine), node=node)


def add_places(key: Mapping[str, Any], places: "Places", rows: Rows) -> None:
    """Add rows of `groups` and `nodes`; they add up to the cell's."""
    add_groups(key, places, rows)
    topology = places.problem.topology
    for (machine, node), use in places.nodes.items():
        rows.add(
            "nodes",
            **key,
            machine=machine_name(topology, machine),
            node=node,
            data_bytes=use.data_bytes,
            page_table_bytes=use.page_table_bytes,
            processes=use.processes,
        )
