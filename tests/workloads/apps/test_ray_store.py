"""Ray's object store: readers of one object, each with tables of its own."""

import os

import pytest

from mshare_bench.study import run
from tests.requirements import require

pytestmark = [pytest.mark.apps, pytest.mark.timeout(280), pytest.mark.usefixtures("own_folder")]


def test_every_reader_has_tables_of_its_own():
    require("apps", os.geteuid() == 0, "reading another process's pagemap takes root here")
    before = {one for one in os.listdir("/dev/shm") if one.startswith("plasma")}
    result = run(workload="app_ray_store", mechanism="shmem", processes=3, region="128MiB", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    measured, predicted = rows["real"]["page_table_bytes"], rows["sim"]["page_table_bytes"]
    assert measured == pytest.approx(predicted, rel=0.02)
    assert measured >= 3 * 64 * 4096
    assert {one for one in os.listdir("/dev/shm") if one.startswith("plasma")} <= before
