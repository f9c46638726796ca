"""Placements as bindings and policies, and those that no kernel has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.topology_mapping import topology_from_mapping
from mshare_bench.domain.units import MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms.contract import Backing
from mshare_bench.real import placed as module
from mshare_bench.real.agent.image import Binding
from mshare_bench.real.numa import Mode
from mshare_bench.real.placed import Layout, add_measured, data_layout, place_data, seat, seated_point
from mshare_bench.real.programs import Backed, Casting, cast, close_backings, open_backings
from mshare_bench.results.rows import Rows
from mshare_bench.sim.accounting import mechanism_of
from mshare_bench.sim.places import Places, places_of
from mshare_bench.workloads.registry import workloads

_TOPOLOGIES = Path(__file__).parents[2] / "conf" / "topology"


def _topology(name: str) -> Topology:
    return topology_from_mapping(yaml.safe_load((_TOPOLOGIES / f"{name}.yaml").read_text("utf-8")))


def _point(placement: str, mechanism: str = "shmem", processes: int = 4, topology: str = "guest_2n") -> Point:
    workload = workloads()["region"].resolve(processes=processes, region=4 * MIB)
    found = Point(workload, mechanism, "", X86_64.page, topology=topology, placement=placement)
    return replace(found, machines=_topology(topology))


def _cast(point: Point) -> tuple[Places, Casting, list[Backed]]:
    mechanism = mechanism_of(point)
    backed = open_backings(point, mechanism, X86_64)
    close_backings(backed)
    return places_of(point), cast(point, backed, mechanism.traits), backed


def _seat(point: Point, shared: bool = False) -> module.Seating:
    places, casting, _ = _cast(point)
    return seat(places, casting, mechanism_of(point).traits, shared)


def test_first_touch_leaves_policies_alone_and_binds_cpus() -> None:
    seating = _seat(_point("first_touch"))
    assert set(seating.bindings) == {Binding(frozenset({0, 1})), Binding(frozenset({2, 3}))}
    by_node = [sorted(seating.bindings[number].cpus or ())[0] // 2 for number in seating.binding[:4]]
    assert sorted(by_node) == [0, 0, 1, 1]
    # The populator runs where the first process does.
    assert seating.binding[-1] == seating.binding[0]
    assert seating.way is None


def test_interleaved_tables_are_the_tasks_policy_and_interleaved_data_the_populators() -> None:
    seating = _seat(_point("first_touch;tables=interleave"))
    assert {(one.mode, one.nodes) for one in (seating.bindings[n] for n in seating.binding[:4])} == {
        (Mode.INTERLEAVE, frozenset({0, 1}))
    }
    assert seating.bindings[seating.binding[-1]].mode is None
    seating = _seat(_point("interleave"))
    assert {seating.bindings[n].mode for n in seating.binding[:4]} == {None}
    assert seating.bindings[seating.binding[-1]].mode == Mode.INTERLEAVE


def test_binding_to_one_node_keeps_all_on_it() -> None:
    seating = _seat(_point("bind;nodes=0:1", processes=2))
    assert [seating.bindings[n] for n in seating.binding] == [Binding(frozenset({2, 3}))] * 3


@pytest.mark.parametrize(
    ("placement", "mechanism", "reason"),
    [
        ("first_touch;tables=replicate", "shmem", "placement.tables=replicate: this kernel has no replicas"),
        ("interleave", "anon_thp", "a task's own data lies by the same policy as its page tables"),
        ("first_touch", "inherit", "what a parent maps for all lies where it runs"),
    ],
)
def test_what_no_kernel_does_is_refused(placement: str, mechanism: str, reason: str) -> None:
    with pytest.raises(CapabilityError, match=reason):
        _seat(_point(placement, mechanism))


def test_a_move_needs_a_second_node() -> None:
    assert _seat(_point("first_touch;horizon=10", topology="guest_4n")).way == (0, 2)
    point = _point("first_touch;horizon=10")
    machine = point.machines.machine() if point.machines else None
    assert machine is not None
    one = replace(machine, nodes=machine.nodes[:1], distances=((10,),))
    single = replace(point, machines=Topology("one", (replace(point.machines.cohorts[0], machine=one),)))
    with pytest.raises(CapabilityError, match="placement.horizon: this machine has one node"):
        _seat(single)


def test_another_machine_than_the_topology_is_skipped() -> None:
    point = _point("first_touch")
    assert point.machines is not None
    machine = point.machines.machine()
    assert seated_point(point, machine) is not None
    assert seated_point(replace(point, machines=None)) is None
    one = replace(machine, nodes=machine.nodes[:1], distances=((10,),))
    with pytest.raises(
        CapabilityError, match=r"topology=guest_2n: this machine is another one \(1 node with 2 CPUs, not 2"
    ):
        seated_point(point, one)
    several = Topology("two", (replace(point.machines.cohorts[0], count=2),), _topology_network())
    with pytest.raises(CapabilityError, match="on 2 machines"):
        seated_point(replace(point, machines=several), machine)


def _topology_network() -> object:
    from mshare_bench.domain.topology import Network

    return Network(1e9, 1000)


def test_data_that_nobody_writes_beforehand_gets_a_policy_where_it_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Mode, frozenset[int]]] = []
    monkeypatch.setattr(module, "bind_file", lambda _fd, _size, mode, nodes: told.append((mode, frozenset(nodes))))

    def place(placement: str, mechanism: str = "shmem", fd: int = 7) -> None:
        places, _, backed = _cast(_point(placement, mechanism))
        place_data([replace(one, instances=(Backing(fd=fd),)) for one in backed], places)

    place("first_touch")
    place("interleave;tables=interleave")
    assert told == []  # the first toucher does it
    place("interleave")
    place("first_touch;tables=interleave")
    assert told == [(Mode.INTERLEAVE, frozenset({0, 1})), (Mode.BIND, frozenset({0}))]
    with pytest.raises(CapabilityError, match="region has no file that keeps a policy of its own"):
        place("interleave", fd=-1)


def test_layouts_say_where_shared_data_goes() -> None:
    assert data_layout(places_of(_point("first_touch"))) == Layout(Mode.BIND, frozenset({0}))
    assert data_layout(places_of(_point("spread"))) == Layout(Mode.INTERLEAVE, frozenset({0, 1}))


def test_what_was_not_seen_is_null() -> None:
    rows, places = Rows(), places_of(_point("first_touch"))
    add_measured({"cell": "c", "repeat": 0}, places, {0: 4 * MIB}, None, rows)
    nodes = rows.tables()["nodes"].to_pylist()
    assert [row["data_bytes"] for row in nodes] == [4 * MIB, 0]
    assert [row["page_table_bytes"] for row in nodes] == [None, None]
    assert [row["processes"] for row in nodes] == [2, 2]
    assert np.unique([row["node"] for row in rows.tables()["groups"].to_pylist()]).tolist() == [0, 1]
