from typing import Any

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu import Scenario, Uniform, quantum_accesses
from mshare_bench.sim.mmu.scenario import check_against, table_lines
from tests.sim.mmu.configurations import GIB, MIB
from tests.sim.mmu.geometries import named_geometry

GOOD: dict[str, Any] = {"region": GIB, "processes": 3, "accesses": 10, "streams": (Uniform(),)}


def scenario(**changes: Any) -> Scenario:
    return Scenario(**(GOOD | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": GIB + 1}, f"region={GIB + 1}: not a multiple of page=4096"),
        ({"region": 0}, "region=0: not a multiple of page=4096"),
        ({"region": 3 * MIB, "page": 2 * MIB}, f"region={3 * MIB}: not a multiple of page={2 * MIB}"),
        ({"region": 1 << 45}, f"region={1 << 45}: at most 16 TiB"),
        ({"page": 8192}, "page=8192: a page is 4KiB, 2MiB or 1GiB"),
        ({"huge": MIB}, f"huge={MIB}: a multiple of huge_page={2 * MIB} within the region"),
        ({"huge": 2 * GIB}, f"huge={2 * GIB}: a multiple of huge_page"),
        ({"huge": 2 * MIB, "page": 2 * MIB}, f"huge_page={2 * MIB}: larger than page={2 * MIB}"),
        ({"processes": 0}, "processes=0: at least 1"),
        ({"accesses": 0}, "accesses=0: at least 1"),
        ({"quantum": 0}, "quantum=0: at least 1"),
        ({"warmup": -1}, "warmup=-1: at least 0"),
        ({"pcids": 0}, "pcids=0: at least 1"),
        ({"levels": 3}, "levels=3: 4 or 5"),
        ({"shared_levels": 4}, "shared_levels=4: the root of 4 levels is never shared"),
        ({"tags": "asid"}, "tags=asid: one of none, pcid, group"),
        ({"streams": (Uniform(), Uniform())}, "streams: 2 given for processes=3: one, or one each"),
        ({"domains": (0, 1)}, "domains=(0, 1): one for each of processes=3"),
        ({"domains": (0, -1, None)}, "domains=-1: a domain is a number from 0, or null"),
        ({"domains": (0, 1, 1), "domain_nodes": (0,)}, "domain_nodes=(0,): one for each domain"),
        ({"core_nodes": ()}, "core_nodes=(): at least one core"),
        ({"cores_of": (0, 0, 1)}, "cores_of=1: there are 1 cores"),
        ({"core_nodes": (-1,)}, "node=-1: a NUMA node is a number from 0"),
        ({"core_nodes": (0, 2), "hops": ((0, 1), (1, 0))}, "hops: 2 rows are no square over the nodes 0 to 2"),
        ({"hops": ((0, 1), (1,))}, "hops: 2 rows are no square"),
    ],
)
def test_bad_scenario_is_one_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        scenario(**changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": 4 << 40}, "do not fit the model's 32-bit keys"),
        (
            {"core_nodes": (0,), "table_nodes": (1, 0, 0), "hops": ((0, 2), (2, 0))},
            "memory_ns has no latency for 2 hops",
        ),
    ],
)
def test_what_a_geometry_cannot_hold(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_against(scenario(**changes), named_geometry("skylake_sp"))


def test_key_bits_leave_room_for_the_tags() -> None:
    assert check_against(scenario(region=1 << 40), named_geometry("skylake_sp")) == 28
    assert check_against(scenario(region=1 << 40, page=GIB), named_geometry("skylake_sp")) == 19  # huge_page is 2 MiB


def test_table_lines_are_whole_pages_of_every_level() -> None:
    assert table_lines(scenario(region=GIB)) == ((0, 512 * 64, 513 * 64, 514 * 64), 515 * 64)
    assert table_lines(scenario(region=GIB + 4096, levels=5))[1] == (513 + 2 + 1 + 1 + 1) * 64


def test_who_reads_whose_tables() -> None:
    mixed = scenario(domains=(None, 4, 4), shared_levels=3)
    assert [mixed.table_owner(process, 1) for process in range(3)] == [0, 1, 1]
    assert [mixed.table_owner(process, 4) for process in range(3)] == [0, 1, 2]


def test_where_tables_lie() -> None:
    two_nodes = scenario(core_nodes=(1, 0), domains=(0, 0, None), shared_levels=1)
    assert [two_nodes.node_of(process) for process in range(3)] == [1, 0, 1]
    assert [two_nodes.table_node(process, 1) for process in range(3)] == [1, 1, 1]  # the domain's lie with its first
    assert [two_nodes.table_node(process, 2) for process in range(3)] == [1, 0, 1]
    placed = scenario(core_nodes=(1, 0), shared_levels=1, domain_nodes=(0,), table_nodes=(0, 1, 1))
    assert [placed.table_node(process, 1) for process in range(3)] == [0, 0, 0]
    assert [placed.table_node(process, 2) for process in range(3)] == [0, 1, 1]


def test_quantum_from_time() -> None:
    assert quantum_accesses(1e6, 10) == 100_000
    assert quantum_accesses(1, 10) == 1
    for bad in ((0, 10), (1e6, 0), (1e6, -1), (float("nan"), 1)):
        with pytest.raises(ConfigError, match="greater than 0"):
            quantum_accesses(*bad)
