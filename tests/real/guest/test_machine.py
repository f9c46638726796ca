"""Topologies as QEMU's arguments, and those that no guest can have."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.domain.topology_mapping import topology_from_mapping
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError
from mshare_bench.real.guest.machine import PLAIN, guest_machine, qemu_arguments

_TOPOLOGIES = Path(__file__).parents[3] / "conf" / "topology"


def _topology(name: str) -> Topology:
    return topology_from_mapping(yaml.safe_load((_TOPOLOGIES / f"{name}.yaml").read_text("utf-8")))


def test_every_node_and_every_distance_is_told() -> None:
    arguments = qemu_arguments(guest_machine(_topology("guest_4n")))
    assert "cpus=4,sockets=4,cores=1,threads=1" in arguments
    assert "2048M" in arguments
    assert "node,nodeid=2,cpus=2,memdev=node2" in arguments
    assert "memory-backend-ram,id=node2,size=512M" in arguments
    assert [one for one in arguments if one.startswith("dist,src=0")] == [
        "dist,src=0,dst=1,val=20",
        "dist,src=0,dst=2,val=30",
        "dist,src=0,dst=3,val=20",
    ]


def test_a_node_without_cpus_and_one_without_memory() -> None:
    nodes = (Node(0, (0, 1, 2), 512 * MIB), Node(1, (), 512 * MIB), Node(2, (3,), 0))
    odd = Machine("odd", nodes, ((10, 20, 20), (20, 10, 20), (20, 20, 10)))
    arguments = qemu_arguments(guest_machine(Topology("odd", (MachineCohort(odd),))))
    assert "node,nodeid=1,memdev=node1" in arguments
    assert "node,nodeid=2,cpus=3" in arguments
    assert "cpus=4,sockets=4,cores=1,threads=1" in arguments


def test_without_a_topology_a_guest_has_one_node() -> None:
    assert guest_machine(None) is PLAIN
    assert not any(one.startswith("dist") for one in qemu_arguments(PLAIN))


@pytest.mark.parametrize("name", ["xeon_2s", "epyc_nps4"])
def test_a_servers_topology_is_too_large(name: str) -> None:
    with pytest.raises(ConfigError, match=f"topology={name}: .* are no guest's"):
        guest_machine(_topology(name))


def test_several_machines_are_no_guest() -> None:
    with pytest.raises(ConfigError, match="topology=four: a guest is one machine, this has 4"):
        guest_machine(Topology("four", (MachineCohort(PLAIN, 4),), Network(1e9, 1)))


def test_gaps_in_the_ids_are_refused() -> None:
    gap = replace(PLAIN, nodes=(Node(2, (0, 1), GIB),))
    with pytest.raises(ConfigError, match=r"topology=gap: a guest's nodes are numbered from 0 without gaps, not \[2\]"):
        guest_machine(Topology("gap", (MachineCohort(gap),), Network(1e9, 1)))
    gap = replace(PLAIN, nodes=(Node(0, (0, 2), GIB),))
    with pytest.raises(ConfigError, match="topology=gap: a guest's CPUs are numbered from 0 without gaps"):
        guest_machine(Topology("gap", (MachineCohort(gap),)))
