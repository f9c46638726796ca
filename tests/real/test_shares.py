"""A cell on several machines: its parts, and its rows from theirs. This machine plays all of them, one after the other."""

from dataclasses import replace

import numpy as np
import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Share
from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.engine import RealEngine, RealOptions
from mshare_bench.real.shares import parts_of
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES
from mshare_bench.sim.engine import SimEngine
from tests.requirements import require
from tests.sim.points import point

MACHINE = Machine("m", (Node(0, (0, 1), 8 * GIB),), ((10,),))


def on(machines: int, processes: int, engine: str = "real") -> Cell:
    network = Network(1e9, 50_000) if machines > 1 else None
    topology = Topology(f"{machines}m", (MachineCohort(MACHINE, machines),), network)
    placed = replace(point("shmem", processes, 4 * MIB), topology=topology.name, placement="spread", machines=topology)
    return Cell(placed, engine=engine)  # type: ignore[arg-type]


def test_parts_have_all_processes_once_and_run_on_one_machine_each() -> None:
    parts = parts_of(on(3, 8))
    assert [part.machine for part in parts] == [0, 1, 2]
    assert sorted(part.cell.point.workload.processes for part in parts) == [2, 3, 3]
    assert all(part.cell.point.machines is None and part.nodes == {0} for part in parts)


def test_one_machine_does_not_run_a_cell_of_several() -> None:
    row = Rows.merge(list(RealEngine().run([on(2, 4)])))["cells"].to_pylist()[0]
    assert (row["status"], row["page_table_bytes"]) == ("skipped", None)
    assert "topology=2m: has 2 machines" in row["error"]


@pytest.mark.kernel
@pytest.mark.parametrize("samples", ["all", "quantiles", "none"])
def test_rows_of_two_machines_are_those_that_the_model_places_there(samples: str) -> None:
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))
    engine, cell = RealEngine(RealOptions(samples=samples)), on(2, 5)
    begun: list[str] = []
    shares = [
        Share(name, "kind", 0, engine.run_part(part.cell, lambda name=name: begun.append(name)), start, 1e6)  # type: ignore[misc]
        for name, part, start in zip(("a", "b"), engine.parts(cell), (5e9, 5e9 + 7e6), strict=True)
    ]
    assert begun == ["a", "b"]
    tables = engine.combine(cell, shares)
    measured = tables["cells"].to_pylist()[0]
    predicted = Rows.merge(list(SimEngine().run([on(2, 5, "sim")])))["cells"].to_pylist()[0]
    for name in ("point", "page_table_bytes", "data_bytes", "minor_faults"):
        assert measured[name] == predicted[name], name
    assert measured["status"] == "ok" and measured["machine"] == "kind"
    assert tables["cells"]["cell"].to_pylist() == [replace(cell, machine="kind").digest]
    groups = tables["groups"].to_pylist()
    assert [(row["machine"], row["processes"], row["start_ns"], row["start_error_ns"]) for row in groups] == [
        ("a", 3, 0.0, 1e6),
        ("b", 2, 7e6, 1e6),
    ]
    nodes = tables["nodes"].to_pylist()
    assert [(row["machine"], row["node"], row["processes"]) for row in nodes] == [("a", 0, 3), ("b", 0, 2)]
    for name in ("page_table_bytes", "data_bytes"):
        assert sum(row[name] for row in nodes) == measured[name]
    phases = {row["phase"]: row for row in tables["phases"].to_pylist()}
    assert sorted(phases, key=PHASES.index) == list(PHASES)
    of_all = np.concatenate([_durations(share, "touch") for share in shares])
    assert len(of_all) == 5
    assert measured["touch_ns"] == np.median(of_all) == phases["touch"]["p50_ns"]
    assert phases["touch"]["sum_ns"] == of_all.sum()
    assert phases["touch"]["wall_ns"] is None  # their clocks are not one
    kept = tables["samples"].num_rows if "samples" in tables else 0
    assert kept == {"all": 5, "quantiles": 9, "none": 0}[samples] * len(PHASES)


@pytest.mark.kernel
def test_a_part_that_can_not_run_says_where_and_why() -> None:
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))
    engine, cell = RealEngine(), on(2, 4)
    first, second = engine.parts(cell)
    good = engine.run_part(first.cell, lambda: None)
    bad = RealEngine(RealOptions(reserve=1 << 60)).run_part(second.cell, lambda: None)
    shares = [Share("a", "kind", 0, good), Share("b", "other", 0, bad)]
    row = engine.combine(cell, shares)["cells"].to_pylist()[0]
    assert (row["status"], row["page_table_bytes"]) == ("skipped", None)
    assert row["error"].startswith("machine b: ")


def _durations(share: Share, phase: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    rows = [row for row in share.tables["samples"].to_pylist() if row["phase"] == phase]
    return np.array([row["value_ns"] for row in rows], dtype=np.int64)
