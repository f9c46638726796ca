"""The engine of applications, with a program of our own: predicted beside measured, and nothing left."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.units import MIB
from mshare_bench.real.applications import ApplicationEngine, Audited, AuditedObject, has_driver, takes
from mshare_bench.real.counters.procfs import start_time
from mshare_bench.real.knobs import More, knobs_set, nr_hugepages
from mshare_bench.results.rows import Rows
from mshare_bench.study.line import _audited
from mshare_bench.workloads.registry import workloads
from tests.requirements import require

pytestmark = pytest.mark.kernel

PROGRAM = """
import mmap, os, sys, time
folder = sys.argv[1]
memory = mmap.mmap(-1, 128 << 20)
for number in range(int(sys.argv[2])):
    if os.fork() == 0:
        while not os.path.exists(folder + "/go"):
            time.sleep(0.01)
        for at in range(0, 128 << 20, 2 << 20):
            memory[at]
        time.sleep(100)
open(folder + "/pid", "w").write(str(os.getpid()))
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _root():
    require("kernel", os.geteuid() == 0, "reading another process's pagemap takes root")


def point(mechanism="shmem", **params):
    workload = workloads()["app_command"].resolve(params={"warmup": "500ms", "duration": "500ms", **params})
    return Point(workload, mechanism, "", 4096 if mechanism != "hugetlb" else 2 * MIB)


def run(cells, root):
    def audit(pids):
        return Audited([AuditedObject("/dev/zero (inode 1)", "anonymous", len(pids), 128 * MIB * len(pids), 4096)], 0.5)

    engine = ApplicationEngine(reserve=1 << 30, timeout=20, root=root, audit=audit)
    tables = Rows.merge(list(engine.run(cells)))
    return {(row["mechanism"], row["engine"]): row for row in tables["cells"].to_pylist()}, tables


def conditioned(one):
    return Cell(one, "sim", model=ApplicationEngine.model)


def test_predicted_equals_measured_and_nothing_is_left(tmp_path):
    params = {
        "start": [sys.executable, "-c", PROGRAM, str(tmp_path), "4"],
        "load": ["touch", str(tmp_path / "go")],
        "watch": "/dev/zero",
    }
    cells = [conditioned(point(name, **params)) for name in ("shmem", "mshare", "hugetlb")]
    cells.append(Cell(point(**params), "real", model=ApplicationEngine.model))
    assert all(has_driver(one.point.workload.name) and takes(one.engine, one.model) for one in cells)
    assert not takes("sim", "accounting-1") and not has_driver("region")
    rows, tables = run(cells, tmp_path / "runs")
    measured, predicted = rows["shmem", "real"], rows["shmem", "sim"]
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    assert measured["page_table_bytes"] == predicted["page_table_bytes"] >= 4 * 64 * 4096
    assert (measured["basis"], predicted["basis"]) == ("measured", "conditioned")
    assert measured["processes"] == predicted["processes"] == 5
    # Shared once: as many PTE tables as the object has touched stretches, whoever touched them.
    assert rows["mshare", "sim"]["pte_table_bytes"] == 64 * 4096
    assert rows["hugetlb", "sim"]["pte_table_bytes"] == 0
    assert measured["minor_faults"] >= 4 * 64
    assert predicted["minor_faults"] is None
    figures = {row["figure"]: row["value"] for row in tables["figures"].to_pylist()}
    assert figures["load"] > 0
    assert figures["audit_attributed"] == 0.5
    assert [row["mappers"] for row in tables["regions"].to_pylist() if row["region_bytes"] == 128 * MIB] == [5]
    assert start_time(int((tmp_path / "pid").read_text())) is None
    assert list((tmp_path / "runs").iterdir()) == []


HUGE = """
import ctypes, mmap, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
fixed, huge, unreserved = 0x100000, 0x40000, 0x4000
# A whole, aligned GiB: what the kernel shares a PMD table of.
memory = libc.mmap(1 << 42, 1 << 30, 3, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | fixed | huge | unreserved, -1, 0)
assert memory == 1 << 42, os.strerror(ctypes.get_errno())
for number in range(4):
    if os.fork() == 0:
        while not os.path.exists(sys.argv[1] + "/go"):
            time.sleep(0.01)
        ctypes.memset(memory, 1, 1)
        time.sleep(100)
time.sleep(100)
"""


def test_a_table_that_the_kernel_shares_is_counted_once(tmp_path, monkeypatch):
    pool = nr_hugepages(2 * MIB)
    require("kernel", pool.available() is None, str(pool.available()))
    both = dict(workloads())
    both["app_command"] = replace(both["app_command"], mechanisms=("hugetlb",))
    monkeypatch.setattr("mshare_bench.real.applications.workloads", lambda: both)
    params = {
        "start": [sys.executable, "-c", HUGE, str(tmp_path)],
        "watch": "/anon_hugepage*",
        "load": ["sh", "-c", f"touch {tmp_path}/go; sleep 0.5"],
    }
    cells = [Cell(point("hugetlb", **params), "real", model="application-1"), conditioned(point("hugetlb", **params))]
    with knobs_set({pool: More(4)}):
        engine = ApplicationEngine(reserve=1 << 30, timeout=20, root=tmp_path / "runs", audit=_audited)
        tables = Rows.merge(list(engine.run(cells)))
    rows = {row["engine"]: row for row in tables["cells"].to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, [row["error"] for row in rows.values()]
    # Four processes touched it: each has a PUD page of its own, and all have one PMD page.
    assert rows["real"]["page_table_bytes"] == rows["sim"]["page_table_bytes"] == (4 + 1) * 4096
    assert rows["real"]["page_table_source"] == "VmPTE less map counts"


def test_what_no_map_count_tells_is_null(tmp_path):
    engine = ApplicationEngine(1 << 30, 20, tmp_path / "runs", audit=lambda pids: Audited([], 1.0, None))
    params = {"start": [sys.executable, "-c", PROGRAM, str(tmp_path), "1"], "load": ["touch", str(tmp_path / "go")]}
    (row,) = Rows.merge(list(engine.run([Cell(point(**params), "real", model="application-1")])))["cells"].to_pylist()
    assert (row["status"], row["page_table_bytes"], row["page_table_source"]) == ("ok", None, None)


def test_a_program_that_dies_shows_the_end_of_its_log_and_its_prediction_is_skipped(tmp_path):
    params = {"start": ["sh", "-c", "echo no such database >&2; exit 3"]}
    cells = [conditioned(point(**params)), Cell(point(**params), "real", model=ApplicationEngine.model)]
    rows, _ = run(cells, tmp_path / "runs")
    assert rows["shmem", "real"]["status"] == "void"
    assert rows["shmem", "real"]["error"] == "start: ended with 3: no such database"
    assert rows["shmem", "sim"]["status"] == "skipped"
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_is_not_there_and_what_it_can_not_be_started_with_are_skipped(tmp_path):
    rows, _ = run([Cell(point(start=["no-such-program-anywhere"]), "real", model="application-1")], tmp_path / "runs")
    assert rows["shmem", "real"]["status"] == "skipped"
    assert "no-such-program-anywhere: can't be started" in rows["shmem", "real"]["error"]
    rows, _ = run([Cell(point("mshare", start=["true"]), "real", model="application-1")], tmp_path / "runs")
    assert rows["mshare", "real"]["error"] == "mechanism=mshare: app_command can be started with shmem"


@pytest.mark.parametrize(
    ("name", "mechanism", "data"),
    [
        ("app_redis", "inherit", 3 << 10),  # a child has its server's pages until the server writes
        ("app_vm", "shmem", 256),
        ("app_vm", "ksm", 9 * 256),  # all guests' memory is there before any is merged
        ("app_postgresql", "shmem", 2 << 10),  # in the buffers and in the files
    ],
)
def test_the_guard_counts_what_is_there_at_the_largest_moment(tmp_path, name, mechanism, data):
    cell = Cell(Point(workloads()[name].resolve(), mechanism, "", 4096), "real", model="application-1")
    tables = Rows.merge(list(ApplicationEngine(reserve=1 << 50, root=tmp_path / "runs").run([cell])))
    (row,) = tables["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert f"processes={cell.point.workload.processes} needs" in row["error"]
    assert f"(data {data / 1024:.2f} GiB, page tables" in row["error"]
    assert "only a smaller region=" in row["error"]


def test_the_memory_guard_says_no_before_anything_starts(tmp_path):
    marker = tmp_path / "started"
    cell = Cell(point(start=["touch", str(marker)]), "real", model="application-1")
    tables = Rows.merge(list(ApplicationEngine(reserve=1 << 50, root=tmp_path / "runs").run([cell])))
    (row,) = tables["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert "less a reserve of" in row["error"]
    assert not Path(marker).exists()
