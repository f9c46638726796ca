"""Containers: libraries of one image under device numbers of their own, found to be one."""

import os
from pathlib import Path

import pytest

from mshare_bench.study import run
from tests.requirements import require
from tests.workloads.apps.installed import program

pytestmark = [pytest.mark.apps, pytest.mark.timeout(200), pytest.mark.usefixtures("own_folder")]


@pytest.fixture(autouse=True)
def _installed():
    require("apps", program("unshare"), "unshare is not installed")
    require("apps", os.geteuid() == 0, "mounting takes root")


def test_libraries_of_all_containers_are_one_object_each():
    mounts = Path("/proc/self/mountinfo").read_text()
    result = run(workload="app_containers", processes=4, region="90MiB", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    measured, predicted = rows["real"]["page_table_bytes"], rows["sim"]["page_table_bytes"]
    assert measured == pytest.approx(predicted, rel=0.02)
    assert measured > 4 * 20 * 4096
    libraries = [
        row
        for row in result.table("regions").to_pylist()
        if ".so" in row["region"] and "/site-packages/" in row["region"]
    ]
    assert libraries
    assert {row["mappers"] for row in libraries} == {4}, "one object for all four, not one each"
    figures = {row["figure"]: row["value"] for row in result.table("figures").to_pylist()}
    assert figures["audit_attributed"] > 0.99
    assert Path("/proc/self/mountinfo").read_text() == mounts
