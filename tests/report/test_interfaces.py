import pyarrow as pa
import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.report.interfaces import compare_interfaces, interface_lines, interface_sentence
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine
from tests.sim.points import point


def predicted(points) -> pa.Table:
    return Rows.merge(list(SimEngine().run([Cell(one) for one in points])))["cells"]


@pytest.fixture(scope="module")
def cells() -> pa.Table:
    return predicted(
        point("mshare", processes, size, interface=interface)
        for interface in ("msharefs", "flag", "ideal")
        for processes in (1, 1000)
        for size in (2 * MIB, 512 * GIB)
    )


def test_each_interface_has_the_least_of_something(cells: pa.Table) -> None:
    contests = {one.quantity: one for one in compare_interfaces(cells)}
    tables, space = contests["page tables"].standings, contests["unused space"].standings
    assert contests["page tables"].combinations == 4
    assert {name: one.least for name, one in tables.items()} == {"msharefs": 4, "flag": 0, "ideal": 4}
    # 1,000 sharers of 512 GiB: 512 PMD pages and a PUD page each, and the tables of the kernel's own space once.
    assert tables["flag"].excess == 1000 * (512 + 1) * 4096
    assert (tables["flag"].processes, tables["flag"].region_bytes) == (1000, 512 * GIB)
    # A window is whole: 512 GiB for 2 MiB.
    assert space["msharefs"].excess == 512 * GIB - 2 * MIB
    assert {name: one.least for name, one in space.items()} == {"msharefs": 2, "flag": 4, "ideal": 2}
    # A link per 2 MiB instead of one per window, for each.
    assert contests["faults"].standings["flag"].excess == 1000 * (262_144 - 1)
    assert {name: one.least for name, one in contests["TLB flushes"].standings.items()}["flag"] == 0


def test_it_is_said_where_one_beats_the_other(cells: pa.Table) -> None:
    contests = compare_interfaces(cells)
    sentence = interface_sentence(contests)
    assert "msharefs has the least page tables (at 4 of 4)" in sentence
    assert "flag has the least unused space (at 4 of 4)" in sentence
    lines = interface_lines(contests)
    assert max(map(len, lines)) <= 76
    assert any("512.0 GiB more" in line for line in lines)


def test_one_interface_is_no_contest() -> None:
    cells = predicted([point("mshare", 2, GIB), point("shmem", 2, GIB)])
    assert compare_interfaces(cells) == []
    assert interface_sentence([]) == ""


def test_other_options_keep_combinations_apart() -> None:
    cells = predicted(point("mshare", 2, GIB, **options) for options in ({"interface": "flag"}, {"flush": "list"}))
    assert compare_interfaces(cells) == []
