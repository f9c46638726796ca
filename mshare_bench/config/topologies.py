"""Topologies from composed configurations: `topology=NAME` finds `conf/topology/NAME.yaml`, bundled or the user's own."""

from collections.abc import Mapping
from typing import Any

from mshare_bench.domain.topology import Topology
from mshare_bench.domain.topology_mapping import topology_from_mapping

__all__ = ["topology_of"]


def topology_of(values: Mapping[str, Any]) -> Topology | None:
    """Build the topology out of composed values; None where none was chosen.

    Raises
    ------
    ConfigError
        For a machine that can't be: no memory, a negative or asymmetric distance, a key that does not exist.
    """
    if not values.get("topology.name"):
        return None
    tree: dict[str, Any] = {}
    for key, value in values.items():
        if key.startswith("topology."):
            at = tree
            *path, last = key.removeprefix("topology.").split(".")
            for name in path:
                at = at.setdefault(name, {})
            at[last] = value
    return topology_from_mapping(tree)
