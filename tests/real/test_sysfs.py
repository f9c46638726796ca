import json
from pathlib import Path

import pytest

from mshare_bench.domain.topology_mapping import format_cpu_list, topology_from_mapping, topology_to_mapping
from mshare_bench.errors import CapabilityError
from mshare_bench.real.sysfs import read_machine, read_topology

TREES = Path(__file__).parent.parent / "data" / "sysfs"


def build(tree: dict[str, str], root: Path) -> Path:
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("path", sorted(TREES.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_tree_is_read(path: Path, tmp_path: Path) -> None:
    recorded = json.loads(path.read_text())
    (tmp_path / "meminfo").write_text(recorded.get("meminfo", ""))
    machine = read_machine(build(recorded["files"], tmp_path), meminfo=tmp_path / "meminfo")
    expect = recorded["expect"]
    assert [[node.id, format_cpu_list(node.cpus), node.memory, node.socket] for node in machine.nodes] == expect[
        "nodes"
    ]
    assert [list(row) for row in machine.distances] == expect["distances"]
    assert [[c.level, c.size, c.kind, c.shared_by, c.ways] for c in machine.caches] == expect["caches"]
    for name in ("latency_ns", "bandwidth"):
        matrix = getattr(machine, name)
        assert (matrix and [list(row) for row in matrix]) == expect[name]
    assert machine.asymmetric is expect["asymmetric"]
    assert machine.sockets == expect["sockets"]
    assert all(node.kind is None for node in machine.nodes)  # sysfs does not tell


@pytest.mark.parametrize("path", sorted(TREES.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_read_survives_the_way_over_json(path: Path, tmp_path: Path) -> None:
    recorded = json.loads(path.read_text())
    (tmp_path / "meminfo").write_text(recorded.get("meminfo", ""))
    topology = read_topology(build(recorded["files"], tmp_path), meminfo=tmp_path / "meminfo", name="box")
    assert topology_from_mapping(json.loads(json.dumps(topology_to_mapping(topology)))) == topology


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("node/node1/distance", "21\n", "1 distances for 2 online nodes"),
        ("node/node1/distance", "21 x\n", "invalid literal"),
        ("node/node1/meminfo", "Node 1 MemFree: 3 kB\n", "has no MemTotal"),
        ("node/node1/cpulist", "4-7,3-\n", "not a list"),
        ("node/node1/cpulist", "0-3\n", "this CPU is in two nodes"),
        ("node/online", "0-2\n", "No such file"),
    ],
)
def test_a_tree_that_makes_no_sense_is_refused_by_name(file: str, text: str, complaint: str, tmp_path: Path) -> None:
    tree = json.loads((TREES / "two_sockets.json").read_text())["files"]
    tree[f"devices/system/{file}"] = text
    with pytest.raises(CapabilityError, match=complaint):
        read_machine(build(tree, tmp_path))


def test_a_missing_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="online"):
        read_machine(tmp_path / "nowhere")


def test_this_machine_is_read() -> None:
    machine = read_machine()
    assert machine.cpus >= 1
    assert machine.memory > 0
