"""Ranks and their window: what the kernel counts is what the pattern says, and what arithmetic says."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from mshare_bench.domain.application import MappedFile
from mshare_bench.domain.units import MIB
from mshare_bench.study import run
from mshare_bench.workloads.apps import mpi
from mshare_bench.workloads.apps.mpi import MpiDriver
from tests.requirements import require
from tests.workloads.apps.installed import module, program

pytestmark = [pytest.mark.apps, pytest.mark.timeout(200), pytest.mark.usefixtures("own_folder")]


@pytest.fixture(autouse=True)
def _installed():
    require(
        "apps",
        module("mpi4py") and ((Path(sys.executable).parent / "mpiexec").exists() or program("mpiexec")),
        "mpi4py and mpich are not installed",
    )
    require("apps", os.geteuid() == 0, "reading another process's pagemap takes root here")


def test_a_window_costs_every_rank_its_own_tables():
    result = run(workload="app_mpi", processes=4, region="64MiB", mechanism="shmem", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    measured, predicted = rows["real"]["page_table_bytes"], rows["sim"]["page_table_bytes"]
    assert measured == pytest.approx(predicted, rel=0.02)
    # 32 stretches of 2 MiB each, one more where the window does not start on one, and upper tables that are new.
    assert 4 * 32 * 4096 <= measured <= 4 * 36 * 4096
    assert rows["real"]["touch_ns"] > 0
    window = [
        row for row in result.table("regions").to_pylist() if row["mappers"] == 4 and row["region_bytes"] >= 64 * MIB
    ]
    assert len(window) == 1
    assert window[0]["page_table_bytes"] == pytest.approx(measured, rel=0.1)


def test_an_mpi_that_is_not_there_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "mpi4py" else found(name, *more)
    )
    result = run(workload="app_mpi", processes=2, region="64MiB", engine="real", tracking="none", out="o")
    (row,) = result.cells.to_pylist()
    assert row["status"] == "skipped"
    assert "pip install 'mshare-bench[apps]'" in row["error"]


def test_small_buffers_of_mpi_are_not_watched():
    driver = MpiDriver()
    driver._size = 64 * MIB
    assert driver.watches(MappedFile(0, 64 * MIB, 0, True, 7, "/dev/shm/mpich_shm_x"))
    assert not driver.watches(MappedFile(0, 32 * MIB, 0, True, 7, "/dev/shm/mpich_shm_y"))


def test_without_the_right_to_mount_ranks_start_as_they_are(monkeypatch):
    assert mpi._apart() == mpi._APART
    monkeypatch.setattr(mpi, "_APART", ("unshare", "--no-such-option"))
    assert mpi._apart() == ()
