"""What a plan would do, and why."""

import dataclasses

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Estimate
from mshare_bench.sweep.outlook import Stored, outlook, rows_of
from mshare_bench.sweep.plan import make_plan
from tests.sweep.test_plan import cell


class _Estimator:
    def estimate(self, cell: Cell) -> Estimate:
        return Estimate(2.0, 100, cell.point.workload.processes)


def test_why_each_cell_runs() -> None:
    cells = [cell(n) for n in (1, 2, 3, 4)]
    plan = make_plan([*cells, cell(5)], {}, refused=[None, None, None, None, "does not fit"])
    other_model = dataclasses.replace(cells[2], model="older")
    stored = Stored(
        {(cells[0].digest, 0): "ok", (cells[1].digest, 0): "void"},
        {(one.point.digest, "sim"): frozenset({one.digest}) for one in (cells[0], cells[1], other_model)},
    )
    found = list(outlook(plan, {"sim": _Estimator()}, stored))
    assert [(one.state, one.why) for one in found] == [
        ("done", ""),
        ("runs", "was void"),
        ("runs", "stored under other models or cost profile"),
        ("runs", "new"),
        ("skipped", "does not fit"),
    ]
    assert found[0].estimate is None and found[4].estimate is None
    assert found[3].estimate == Estimate(2.0, 100, 4)


def test_rows_hold_what_a_report_prints() -> None:
    plan = make_plan([cell(1, "real")], {"real": 2})
    first, second = rows_of(outlook(plan, {"real": _Estimator()}))
    assert (first["why"], second["why"]) == ("new", "repeat")
    assert (first["seconds"], first["memory_bytes"], first["page_table_bytes"]) == (2.0, 100, 1)
    assert first["cell"] == second["cell"]
