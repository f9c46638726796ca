"""The machine that QEMU shows to the guest: CPUs, NUMA nodes and distances of a topology, as QEMU's arguments."""

from collections.abc import Sequence

from mshare_bench.domain.topology import Machine, Node, Topology
from mshare_bench.domain.units import GIB, MIB, format_size
from mshare_bench.errors import ConfigError

__all__ = ["MOST_CPUS", "MOST_MEMORY", "PLAIN", "guest_machine", "qemu_arguments"]

MOST_CPUS = 32
MOST_MEMORY = 64 * GIB
_LEAST_MEMORY = 512 * MIB

PLAIN = Machine("guest", (Node(0, (0, 1), 2048 * MIB, 0, "dram"),), ((10,),))
"""What is booted when no topology is named: one node, which holds 64 processes with 256 MiB each."""


def guest_machine(topology: Topology | None) -> Machine:
    """The machine of a topology that a guest can have.

    Raises
    ------
    ConfigError
        When it has several machines, or more than a guest is given, or ids that QEMU can't give.
    """
    if topology is None:
        return PLAIN
    key = f"topology={topology.name}"
    if topology.machines > 1:
        raise ConfigError(
            f"{key}: a guest is one machine, this has {topology.machines}; guest_2n and guest_4n are made for it"
        )
    machine = topology.machine()
    if list(machine.node_ids) != list(range(len(machine.nodes))):
        raise ConfigError(f"{key}: a guest's nodes are numbered from 0 without gaps, not {list(machine.node_ids)}")
    if sorted(cpu for node in machine.nodes for cpu in node.cpus) != list(range(machine.cpus)):
        raise ConfigError(f"{key}: a guest's CPUs are numbered from 0 without gaps")
    if machine.cpus > MOST_CPUS or not _LEAST_MEMORY <= machine.memory <= MOST_MEMORY:
        raise ConfigError(
            f"{key}: {machine.cpus} CPUs and {format_size(machine.memory)} are no guest's (at most {MOST_CPUS} CPUs, "
            f"{format_size(_LEAST_MEMORY)} to {format_size(MOST_MEMORY)}); guest_2n and guest_4n are made for it"
        )
    return machine


def qemu_arguments(machine: Machine) -> list[str]:
    """Arguments for CPUs, memory and nodes: `-smp`, `-m`, and for each node `-numa node`, between each two `-numa dist`."""
    arguments = ["-smp", _smp(machine.nodes), "-m", f"{machine.memory // MIB}M"]
    for node in machine.nodes:
        words = [f"node,nodeid={node.id}", *(f"cpus={cpu}" for cpu in node.cpus)]
        if node.memory:
            arguments += ["-object", f"memory-backend-ram,id=node{node.id},size={node.memory // MIB}M"]
            words.append(f"memdev=node{node.id}")
        arguments += ["-numa", ",".join(words)]
    for source, row in zip(machine.nodes, machine.distances, strict=True):
        for target, distance in zip(machine.nodes, row, strict=True):
            if source is not target:
                arguments += ["-numa", f"dist,src={source.id},dst={target.id},val={distance}"]
    return arguments


def _smp(nodes: Sequence[Node]) -> str:
    """A socket per node that has CPUs; where these are not alike, a socket per CPU, so that no socket lies across nodes."""
    counts = {len(node.cpus) for node in nodes if node.cpus}
    total = sum(len(node.cpus) for node in nodes)
    cores = counts.pop() if len(counts) == 1 else 1
    return f"cpus={total},sockets={total // cores},cores={cores},threads=1"
