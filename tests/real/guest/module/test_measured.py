"""Predicted beside measured for sharing itself: the module in a guest, integers equal to integers."""

import shutil

import pytest

import mshare_bench
from tests.requirements import require

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


def test_predicted_is_measured(tmp_path):
    require("guest", shutil.which("qemu-system-x86_64") is not None, "qemu-system-x86 is not installed")
    result = mshare_bench.run(
        "experiment=measured_sharing",
        processes=[2, 16],
        region="64MiB",
        access=["dense"],
        tracking="none",
        out=str(tmp_path / "out"),
    )
    names = ("point", "mechanism", "variant", "populate", "processes", "page_table_bytes", "minor_faults", "data_bytes")
    rows = {engine: {} for engine in ("sim", "real")}
    for row in result.cells.select(["engine", "status", "error", *names]).to_pylist():
        assert row["status"] == "ok", row["error"]
        rows[row["engine"]][row["point"]] = [row[name] for name in names]
    assert len(rows["sim"]) == 12
    assert rows["real"] == rows["sim"]
    found = {(one[1], one[2], one[3], one[4]): one[5] for one in rows["real"].values()}
    shared = found["mshare", "interface=module", "controller", 16]
    control = found["mshare", "interface=module;sharing=off", "controller", 16]
    assert control - shared == 15 * 32 * 4096  # fifteen processes' leaf tables less
