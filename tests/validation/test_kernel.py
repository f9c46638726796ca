"""Pairing of simulated and real rows; with the kernel itself in tests/study/test_line.py."""

import pytest

from mshare_bench.domain.units import GIB
from mshare_bench.results.schema import TIMED_PHASES
from mshare_bench.sim.accounting import account
from mshare_bench.validation.kernel import UNFITTED, compare_cells, kernel_cells

NONE = {
    **{f"{phase}_ns": None for phase in TIMED_PHASES}, "page_table_source": "VmPTE", "page_table_noise_bytes": None,
    "variant": "", "mechanism": "shmem", "workload": "region", "processes": 10, "region_bytes": 1 << 20, "access": "dense",
    "write_fraction": 0.0, "page_table_bytes": 4096, "data_bytes": 1 << 20, "minor_faults": 7, "status": "ok", "error": None,
    "cost": "", "point": "p",
}  # fmt: skip


def pair(*real, **sim):
    reals = [{**NONE, "engine": "real", **one} for one in real or ({},)]
    return list(compare_cells([{**NONE, "engine": "sim", **sim}, *reals]))


def verdicts(rows):
    return {row.quantity: row.passed for row in rows}


def test_cells_come_in_pairs_of_one_point():
    cells = kernel_cells(True, "here", "box", lambda engine: f"{engine}-1")
    points = {}
    for cell in cells:
        points.setdefault(cell.point.digest, []).append((cell.engine, cell.cost, cell.machine, cell.model))
    assert len(points) > 10
    assert all(sorted(one) == [("real", "", "box", "real-1"), ("sim", "here", "", "sim-1")] for one in points.values())
    assert {cell.point.workload.name for cell in cells} == {"region", *UNFITTED}


@pytest.mark.parametrize(("small", "gib"), [(True, 0.25), (False, 3)])
def test_no_cell_holds_more_data_than_a_check_can_afford(small, gib):
    for cell in kernel_cells(small):
        assert account(cell.point).total("data_bytes") <= gib * GIB, cell.point.mechanism


def test_counts_must_be_equal():
    assert verdicts(pair()) == {"page_table_bytes": True, "data_bytes": True, "minor_faults": True}
    assert verdicts(pair({"minor_faults": 8}))["minor_faults"] is False
    assert verdicts(pair({"page_table_bytes": 8192}))["page_table_bytes"] is False


def test_a_count_that_could_not_be_read_is_no_row():
    assert "page_table_bytes" not in verdicts(pair({"page_table_bytes": None}))


def test_copies_are_known_to_a_kib_per_process():
    own = {"data_bytes": 20 << 20}
    assert verdicts(pair({"data_bytes": (20 << 20) - 10 * 1024}, **own))["data_bytes"] is True
    assert verdicts(pair({"data_bytes": (20 << 20) - 11 * 1024 - 200}, **own))["data_bytes"] is False
    assert verdicts(pair({"data_bytes": (1 << 20) - 1024}))["data_bytes"] is False  # one copy for all is exact


@pytest.mark.parametrize(
    ("predicted", "noise", "passed"), [(1 << 20, 0, None), (200 << 20, 0, False), (200 << 20, 20 << 20, None)]
)
def test_the_machines_counter_says_nothing_within_its_noise(predicted, noise, passed):
    real = {"page_table_source": "PageTables", "page_table_noise_bytes": noise, "page_table_bytes": predicted * 1.1}
    assert verdicts(pair(real, page_table_bytes=predicted))["page_table_bytes"] is passed


def test_times_pass_on_a_quiet_machine_only():
    quiet = pair({"touch_ns": 100.0}, {"touch_ns": 101.0}, touch_ns=120.0, cost="here")
    assert verdicts(quiet)["touch_ns"] is True
    assert verdicts(quiet)["median error of times, over 1"] is False  # 20 % at the median
    off = pair({"touch_ns": 100.0}, {"touch_ns": 101.0}, touch_ns=130.0, cost="here")
    assert verdicts(off)["touch_ns"] is False
    noisy = {row.quantity: row for row in pair({"touch_ns": 100.0}, {"touch_ns": 150.0}, touch_ns=130.0, cost="here")}
    assert noisy["touch_ns"].passed is None
    assert noisy["touch_ns"].reference == 100.0  # the run that was disturbed less
    assert "noisy" in noisy["touch_ns"].note


def test_times_without_a_profile_are_not_predicted():
    rows = {row.quantity: row for row in pair({"touch_ns": 100.0})}
    assert rows["touch_ns"].predicted is None and "calibrate" in rows["touch_ns"].note
    rows = {row.quantity: row for row in pair({"touch_ns": 100.0}, cost="skylake_2s")}
    assert "lacks a unit cost" in rows["touch_ns"].note


def test_times_of_other_workloads_are_out_of_sample():
    rows = pair({"touch_ns": 100.0}, touch_ns=100.0, cost="here", workload=UNFITTED[0])
    blocks = {row.quantity: row.block for row in rows}
    assert blocks["touch_ns"] == "out_of_sample"
    assert blocks["minor_faults"] == "kernel"


def test_a_cell_that_could_not_run_stays_with_its_reason():
    (row,) = pair({"status": "skipped", "error": "no huge pages here"})
    assert (row.predicted, row.passed, row.note) == (None, None, "no huge pages here")
