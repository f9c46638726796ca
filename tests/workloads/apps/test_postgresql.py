"""PostgreSQL itself: predicted beside measured, huge pages off and on; nothing left, also after kill -9."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mshare_bench.domain.application import MappedFile
from mshare_bench.domain.units import MIB
from mshare_bench.real.knobs import knobs
from mshare_bench.real.private_folder import folders_root
from mshare_bench.results.store import Store
from mshare_bench.study import run
from mshare_bench.workloads.apps.postgresql import PostgresqlDriver
from tests.requirements import require
from tests.workloads.apps.installed import postgresql

pytestmark = [pytest.mark.apps, pytest.mark.timeout(240), pytest.mark.usefixtures("own_folder")]


@pytest.fixture(autouse=True)
def _installed():
    require("apps", postgresql(), "PostgreSQL is not installed")
    require("apps", os.geteuid() == 0, "reading the tables of another user's processes takes root")


def processes_below(folder):
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (one / "cmdline").read_bytes():
                found.append(int(one.name))
    return found


def test_backends_cost_what_their_pattern_says_and_huge_pages_take_it_away():
    pool = knobs()["nr_hugepages_2048kB"].read()
    result = run(
        workload="app_postgresql", processes=12, region="128MiB", workload__seconds=1, tracking="none", out="o"
    )
    rows = {(row["mechanism"], row["engine"]): row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, [row["error"] for row in rows.values()]
    assert set(rows) == {
        ("shmem", "sim"),
        ("shmem", "real"),
        ("hugetlb", "sim"),
        ("hugetlb", "real"),
        ("mshare", "sim"),
    }
    measured, predicted = rows["shmem", "real"], rows["shmem", "sim"]
    assert measured["point"] == predicted["point"]
    assert measured["page_table_bytes"] == pytest.approx(predicted["page_table_bytes"], rel=0.05)
    # Every backend has touched nearly all of the buffers' 64 stretches of 2 MiB.
    assert measured["page_table_bytes"] > 12 * 50 * 4096
    assert rows["hugetlb", "real"]["page_table_bytes"] < measured["page_table_bytes"] / 10
    assert rows["mshare", "sim"]["page_table_bytes"] < measured["page_table_bytes"] / 5
    figures = {(row["cell"], row["figure"]): row["value"] for row in result.table("figures").to_pylist()}
    for name in ("storm_wall", "storm_p99", "queries_per_second"):
        assert all(figures[rows[one, "real"]["cell"], name] > 0 for one in ("shmem", "hugetlb"))
    phases = [row for row in result.table("phases").to_pylist() if row["phase"] == "touch"]
    assert all(row["p50_ns"] <= row["p99_ns"] <= row["wall_ns"] for row in phases)
    assert _folders_of(os.getpid()) == []
    assert knobs()["nr_hugepages_2048kB"].read() == pool


def test_a_killed_run_leaves_nothing_behind(tmp_path):
    command = [
        sys.executable, "-m", "mshare_bench", "run", "workload=app_postgresql", "processes=4", "region=64MiB", "mechanism=shmem",
        "workload.seconds=0", "tracking=none", "--quiet", f"out={tmp_path / 'o'}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    memory = {one for one in os.listdir("/dev/shm") if one.startswith("PostgreSQL")}
    started = subprocess.Popen(command, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not (mine := _folders_of(started.pid)) or not (mine[0] / "socket" / ".s.PGSQL.5432").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    while processes_below(mine[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_below(mine[0]), "servers die with their run"
    assert mine[0].exists()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not mine[0].exists()
    assert {one for one in os.listdir("/dev/shm") if one.startswith("PostgreSQL")} <= memory
    assert {row["status"] for row in Store.open(tmp_path / "o").table("cells").to_pylist()} == {"ok"}


def _folders_of(pid):
    return [one.parent for one in folders_root().glob("*/owner.json") if f'"pid": {pid},' in one.read_text()]


@pytest.mark.parametrize(
    ("name", "said"), [("closed", "ermission denied"), ("c" * 90, "too long a name for a unix socket")]
)
def test_a_folder_that_will_not_do_is_said(monkeypatch, name, said):
    base = tempfile.mkdtemp(dir="/var/tmp")  # pytest's own are too long for the first of the two
    closed = Path(base) / name
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(closed))
    result = run(
        workload="app_postgresql",
        processes=2,
        region="64MiB",
        mechanism="shmem",
        engine="real",
        tracking="none",
        out="o",
    )
    (row,) = result.cells.to_pylist()
    assert row["status"] in ("void", "skipped")
    assert said in row["error"]
    shutil.rmtree(base)


def test_only_the_buffers_are_watched():
    driver = PostgresqlDriver()
    buffers = MappedFile(0, 64 * MIB, 0, True, 5, "/dev/zero (deleted)")
    assert driver.watches(buffers)
    assert driver.watches(MappedFile(0, 64 * MIB, 0, True, 5, "/anon_hugepage (deleted)"))
    assert not driver.watches(MappedFile(0, 4096, 0, True, 5, "/SYSV00000001 (deleted)"))
    assert not driver.watches(MappedFile(0, 64 * MIB, 0, False, 5, "/dev/zero (deleted)"))
