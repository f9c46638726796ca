"""Topologies as plain mappings, as `conf/topology/*.yaml` writes them and as machines send them to each other.

Sizes and durations are written with units (`256GiB`, `30us`). A machine's `nodes` are listed one by one; `cpus` is how many
there are, numbered on from the node before, and `cpu_list` (`0-11,48-59`) names them. `distances`, `latency_ns` and
`bandwidth_gb_s` (10^9 bytes per second) are a matrix in the order of the nodes, or `{local: …, same_socket: …, remote: …}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mshare_bench.domain.topology import Cache, Machine, MachineCohort, Matrix, Network, Node, Topology
from mshare_bench.domain.units import parse_count, parse_duration, parse_size
from mshare_bench.errors import ConfigError

__all__ = ["format_cpu_list", "parse_cpu_list", "topology_from_mapping", "topology_to_mapping"]

_GIGA = 1e9
_TOPOLOGY_KEYS = {"name", "description", "machines", "network"}
_MACHINE_KEYS = {"count", "nodes", "distances", "latency_ns", "bandwidth_gb_s", "caches", "asymmetric", "sources"}
_NODE_KEYS = {"id", "cpus", "cpu_list", "memory", "socket", "kind"}
_CACHE_KEYS = {"level", "size", "kind", "shared_by", "ways"}
_NETWORK_KEYS = {"bandwidth_gb_s", "latency", "source"}
_PAIR_KEYS = {"local", "same_socket", "remote"}


def topology_from_mapping(mapping: Mapping[str, Any]) -> Topology:
    """Build a topology from plain mappings, lists, strings and numbers.

    Raises
    ------
    ConfigError
        For a key that does not exist, one that is missing, and every impossible value; the message names key and value.
    """
    _check_keys("topology", mapping, _TOPOLOGY_KEYS, required=("name", "machines"))
    machines = _mapping("topology.machines", mapping["machines"])
    cohorts = []
    for name, entry in machines.items():
        key = f"topology.machines.{name}"
        fields = _mapping(key, entry)
        count = parse_count(fields.get("count", 1), f"{key}.count", at_least=1)
        cohorts.append(MachineCohort(_machine(str(name), key, fields), count))
    network = mapping.get("network")
    return Topology(str(mapping["name"]), tuple(cohorts), None if network is None else _network(network))


def topology_to_mapping(topology: Topology) -> dict[str, Any]:
    """Write a topology as plain values (JSON will do), such that `topology_from_mapping` gives the same back."""
    mapping: dict[str, Any] = {
        "name": topology.name,
        "machines": {cohort.machine.name: _machine_mapping(cohort) for cohort in topology.cohorts},
    }
    if topology.network:
        network = topology.network
        mapping["network"] = {"bandwidth_gb_s": network.bandwidth / _GIGA, "latency": f"{network.latency_ns}ns"}
        mapping["network"]["source"] = network.source
    return mapping


def parse_cpu_list(text: str, key: str = "cpu_list") -> tuple[int, ...]:
    """Read the kernel's list format: `0-3,8,10-11`; an empty text is no CPU.

    Raises
    ------
    ConfigError
        When it is anything else.
    """
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in text.strip().split(","))):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or part.endswith("-"):
            raise ConfigError(f"{key}={text}: not a list such as 0-3,8")
        if last and int(last) < int(first):
            raise ConfigError(f"{key}={text}: {part} runs backwards")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


def format_cpu_list(cpus: Sequence[int]) -> str:
    """Write CPU or node numbers as the kernel does: `0-3,8`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _machine(name: str, key: str, fields: Mapping[str, Any]) -> Machine:
    _check_keys(key, fields, _MACHINE_KEYS, required=("nodes",))
    nodes: list[Node] = []
    for entry in _sequence(f"{key}.nodes", fields["nodes"]):
        nodes.append(_node(f"{key}.nodes[{len(nodes)}]", _mapping(f"{key}.nodes", entry), nodes))
    # Linux's own defaults where the firmware has no SLIT: LOCAL_DISTANCE and REMOTE_DISTANCE of include/linux/topology.h.
    distances = fields.get("distances", {"local": 10, "same_socket": 20, "remote": 20})
    whole = _matrix(f"{key}.distances", distances, nodes, 1)
    latency, bandwidth = fields.get("latency_ns"), fields.get("bandwidth_gb_s")
    caches = _sequence(f"{key}.caches", fields.get("caches") or ())
    return Machine(
        name,
        tuple(nodes),
        tuple(tuple(_distance(f"{key}.distances", value) for value in row) for row in whole),
        None if latency is None else _matrix(f"{key}.latency_ns", latency, nodes, 1),
        None if bandwidth is None else _matrix(f"{key}.bandwidth_gb_s", bandwidth, nodes, _GIGA),
        tuple(_cache(f"{key}.caches[{i}]", _mapping(f"{key}.caches", entry)) for i, entry in enumerate(caches)),
        bool(fields.get("asymmetric", False)),
        tuple((str(k), str(v)) for k, v in _mapping(f"{key}.sources", fields.get("sources") or {}).items()),
    )


def _node(key: str, fields: Mapping[str, Any], before: Sequence[Node]) -> Node:
    _check_keys(key, fields, _NODE_KEYS, required=("memory",))
    if "cpus" in fields and "cpu_list" in fields:
        raise ConfigError(f"{key}.cpu_list={fields['cpu_list']}: give cpus (how many) or cpu_list (which), not both")
    if "cpu_list" in fields:
        cpus = parse_cpu_list(str(fields["cpu_list"]), f"{key}.cpu_list")
    else:
        first = max((cpu for node in before for cpu in node.cpus), default=-1) + 1
        cpus = tuple(range(first, first + parse_count(fields.get("cpus", 0), f"{key}.cpus")))
    number = parse_count(fields.get("id", before[-1].id + 1 if before else 0), f"{key}.id")
    socket, kind = fields.get("socket"), fields.get("kind")
    return Node(
        number,
        cpus,
        parse_size(fields["memory"], f"{key}.memory"),
        None if socket is None else parse_count(socket, f"{key}.socket"),
        None if kind is None else str(kind),
    )


def _cache(key: str, fields: Mapping[str, Any]) -> Cache:
    _check_keys(key, fields, _CACHE_KEYS, required=("level", "size"))
    ways = fields.get("ways")
    return Cache(
        parse_count(fields["level"], f"{key}.level"),
        parse_size(fields["size"], f"{key}.size"),
        str(fields.get("kind", "unified")),
        parse_count(fields.get("shared_by", 1), f"{key}.shared_by"),
        None if ways is None else parse_count(ways, f"{key}.ways"),
    )


def _network(value: object) -> Network:
    key = "topology.network"
    fields = _mapping(key, value)
    _check_keys(key, fields, _NETWORK_KEYS, required=("bandwidth_gb_s", "latency"))
    bandwidth = _number(f"{key}.bandwidth_gb_s", fields["bandwidth_gb_s"])
    latency = parse_duration(fields["latency"], f"{key}.latency")
    return Network(bandwidth * _GIGA, latency, str(fields.get("source", "")))


def _matrix(key: str, value: object, nodes: Sequence[Node], unit: float) -> Matrix:
    if isinstance(value, Mapping):
        _check_keys(key, value, _PAIR_KEYS, required=("local",))
        needed = {_relation(a, b) for a in nodes for b in nodes}
        for name in sorted(needed - set(value)):
            raise ConfigError(f"{key}={dict(value)}: {name} is missing")
        return tuple(tuple(_figure(key, value[_relation(a, b)], unit) for b in nodes) for a in nodes)
    rows = [_sequence(key, row) for row in _sequence(key, value)]
    return tuple(tuple(_figure(key, figure, unit) for figure in row) for row in rows)


def _figure(key: str, value: object, unit: float) -> float | None:
    return None if value is None else _number(key, value) * unit


def _relation(a: Node, b: Node) -> str:
    if a.id == b.id:
        return "local"
    return "same_socket" if a.socket is not None and a.socket == b.socket else "remote"


def _distance(key: str, value: float | None) -> int:
    if value is None or value != int(value):
        raise ConfigError(f"{key}={value}: not a whole number")
    return int(value)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}={value}: not a number")
    return float(value)


def _mapping(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value}: must be a mapping")
    return value


def _sequence(key: str, value: object) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{key}={value}: must be a list")
    return value


def _check_keys(key: str, fields: Mapping[str, Any], known: set[str], required: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise ConfigError(
                f"{key}.{name}={fields[name]}: there is no such key; there are {', '.join(sorted(known))}"
            )
    for name in required:
        if fields.get(name) is None:
            raise ConfigError(f"{key}.{name}=null: is missing")


def _machine_mapping(cohort: MachineCohort) -> dict[str, Any]:
    machine = cohort.machine
    mapping: dict[str, Any] = {"count": cohort.count, "nodes": []}
    for node in machine.nodes:
        mapping["nodes"].append(
            {"id": node.id, "cpu_list": format_cpu_list(node.cpus), "memory": node.memory, "socket": node.socket}
            | {"kind": node.kind}
        )
    mapping["distances"] = [list(row) for row in machine.distances]
    if machine.latency_ns:
        mapping["latency_ns"] = [list(row) for row in machine.latency_ns]
    if machine.bandwidth:
        mapping["bandwidth_gb_s"] = [[None if v is None else v / _GIGA for v in row] for row in machine.bandwidth]
    mapping["caches"] = [
        {"level": cache.level, "size": cache.size, "kind": cache.kind, "shared_by": cache.shared_by, "ways": cache.ways}
        for cache in machine.caches
    ]
    mapping["asymmetric"] = machine.asymmetric
    mapping["sources"] = dict(machine.sources)
    return mapping
