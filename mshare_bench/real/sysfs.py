"""The topology of the running machine, read from sysfs.

Read are `devices/system/node` (ids, CPUs, memory, distances, and latency and bandwidth where the firmware has an HMAT),
`devices/system/cpu/*/topology` (packages) and `devices/system/cpu/*/cache`. A kernel built without NUMA has no node directory:
then the machine is one node 0 and its memory comes from `meminfo`. Only CPUs and nodes that are online count.

Limits: without an HMAT (Documentation/admin-guide/mm/numaperf.rst) latencies and bandwidths are unknown and stay None; with
one, the kernel tells them only from each memory node's nearest initiators. Of what kind a node's memory is stays None.
"""

import re
from pathlib import Path

from mshare_bench.domain.topology import Cache, Machine, MachineCohort, Matrix, Node, Topology
from mshare_bench.domain.topology_mapping import parse_cpu_list
from mshare_bench.domain.units import KIB, MIB
from mshare_bench.errors import CapabilityError, ConfigError

__all__ = ["read_machine", "read_topology"]

_MEGABYTE = 1e6
_KIND_OF_CACHE = {"Data": "data", "Instruction": "instruction", "Unified": "unified"}


def read_topology(
    root: Path = Path("/sys"), *, meminfo: Path = Path("/proc/meminfo"), name: str = "this_machine"
) -> Topology:
    """Read the machine as a topology of one; see `read_machine`."""
    return Topology(name, (MachineCohort(read_machine(root, meminfo=meminfo, name=name)),))


def read_machine(
    root: Path = Path("/sys"), *, meminfo: Path = Path("/proc/meminfo"), name: str = "this_machine"
) -> Machine:
    """Read the machine.

    Parameters
    ----------
    root
        Where sysfs is mounted.
    meminfo
        Asked for the memory of a kernel without NUMA only.
    name
        The machine's name in the result.

    Raises
    ------
    CapabilityError
        When sysfs lacks what is needed or says something that makes no sense; the message names the file.
    """
    system = root / "devices" / "system"
    try:
        ids = _online_nodes(system)
        nodes = [_node(system, number) for number in ids] if ids else [_only_node(system, meminfo)]
        distances = tuple(_distances(system, number, len(ids)) for number in ids) or ((10,),)
        asymmetric = any(distances[i][j] != distances[j][i] for i in range(len(nodes)) for j in range(i))
        latency = _initiators(system, ids, "read_latency", 1)
        bandwidth = _initiators(system, ids, "read_bandwidth", _MEGABYTE)
        origin = tuple((key, "sysfs") for key in ("nodes", "distances", "caches"))
        hmat = tuple((key, "HMAT") for key, m in (("latency_ns", latency), ("bandwidth", bandwidth)) if m)
        caches = _caches(system, nodes)
        return Machine(name, tuple(nodes), distances, latency, bandwidth, caches, asymmetric, origin + hmat)
    except (ConfigError, ValueError) as error:
        raise CapabilityError(f"{system}: {error}") from error


def _online_nodes(system: Path) -> tuple[int, ...]:
    online = system / "node" / "online"
    return parse_cpu_list(_read(online), str(online)) if online.exists() else ()


def _node(system: Path, number: int) -> Node:
    folder = system / "node" / f"node{number}"
    cpus = parse_cpu_list(_read(folder / "cpulist"), str(folder / "cpulist"))
    return Node(number, cpus, _kib_of(folder / "meminfo", "MemTotal") * KIB, _socket(system, cpus))


def _only_node(system: Path, meminfo: Path) -> Node:
    online = system / "cpu" / "online"
    cpus = parse_cpu_list(_read(online), str(online))
    return Node(0, cpus, _kib_of(meminfo, "MemTotal") * KIB, _socket(system, cpus))


def _socket(system: Path, cpus: tuple[int, ...]) -> int | None:
    if not cpus:
        return None
    path = system / "cpu" / f"cpu{cpus[0]}" / "topology" / "physical_package_id"
    number = int(_read(path)) if path.exists() else -1
    return number if number >= 0 else None  # -1: the architecture does not know


def _distances(system: Path, number: int, count: int) -> tuple[int, ...]:
    path = system / "node" / f"node{number}" / "distance"
    row = tuple(int(part) for part in _read(path).split())
    if len(row) != count:
        raise CapabilityError(f"{path}: {len(row)} distances for {count} online nodes")
    return row


def _initiators(system: Path, ids: tuple[int, ...], attribute: str, unit: float) -> Matrix | None:
    figures: dict[tuple[int, int], float] = {}
    for target in ids:
        # access0: the nearest initiators of any kind, access1: the nearest that are CPUs. The second is what loads see.
        for access in ("access1", "access0"):
            folder = system / "node" / f"node{target}" / access / "initiators"
            if (folder / attribute).exists():
                value = float(_read(folder / attribute)) * unit
                for entry in folder.iterdir():
                    if (match := re.fullmatch(r"node(\d+)", entry.name)) and int(match[1]) in ids and value > 0:
                        figures[int(match[1]), target] = value
                break
    if not figures:
        return None
    return tuple(tuple(figures.get((source, target)) for target in ids) for source in ids)


def _caches(system: Path, nodes: list[Node]) -> tuple[Cache, ...]:
    first = next((node.cpus[0] for node in nodes if node.cpus), None)
    folders = sorted((system / "cpu" / f"cpu{first}" / "cache").glob("index*"), key=lambda path: int(path.name[5:]))
    caches = []
    for folder in folders:
        kind = _KIND_OF_CACHE.get(_read(folder / "type").strip())
        size = _read(folder / "size").strip() if (folder / "size").exists() else ""
        if kind is None or not size:
            continue  # hypervisors show caches without a size
        ways = int(_read(folder / "ways_of_associativity")) if (folder / "ways_of_associativity").exists() else 0
        sharers = len(parse_cpu_list(_read(folder / "shared_cpu_list"))) or 1
        scale = {"K": KIB, "M": MIB}.get(size[-1])
        caches.append(
            Cache(
                int(_read(folder / "level")),
                int(size[:-1]) * scale if scale else int(size),
                kind,
                sharers,
                ways or None,
            )
        )
    return tuple(caches)


def _kib_of(path: Path, field: str) -> int:
    match = re.search(rf"\b{field}:\s*(\d+)\s*kB", _read(path))
    if match is None:
        raise CapabilityError(f"{path}: has no {field}")
    return int(match[1])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise CapabilityError(f"{path}: {error.strerror}") from error
