"""The Ray executor: the same rows as inline, a worker that dies, and nothing left behind."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest

from mshare_bench.cluster.inline import InlineExecutor
from mshare_bench.cluster.ray import RayExecutor
from mshare_bench.config.settings import ClusterSettings
from mshare_bench.domain.cells import Cells
from mshare_bench.results.rows import Rows
from tests.cluster.engines import Counting, cell, here

pytestmark = pytest.mark.timeout(600)


def test_same_rows_as_inline_and_a_worker_that_dies_costs_its_cell_only(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mb", dir="/tmp"))  # short: Ray puts sockets below it
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = dict(os.environ)
    cells = Cells.of([*(cell(n) for n in range(1, 41)), *(cell(n, "real") for n in (1, 2, 3))])
    engines = {"sim": Counting("sim"), "real": Counting("real")}
    inline = Rows.merge(list(InlineExecutor(here).run(cells, engines)))["cells"].sort_by("cell")
    notes: list[str] = []
    executor = RayExecutor(ClusterSettings(), here, notes.append)
    try:
        found = Rows.merge(list(executor.run(cells, engines)))["cells"].sort_by("cell")
        listening = _listening()
        dying = {"sim": Counting("sim", dies_at=7), "real": Counting("real", raises_at=2, dies_at=1)}
        survived = Rows.merge(list(executor.run(cells, dying)))["cells"]
    finally:
        executor.close()
    assert found.equals(inline)
    statuses = {(row["engine"], row["processes"]): (row["status"], row["error"]) for row in survived.to_pylist()}
    assert len(statuses) == len(cells) == survived.num_rows
    bad = {key: value for key, value in statuses.items() if value[0] != "ok"}
    assert {key: status for key, (status, _) in bad.items()} == dict.fromkeys(
        [("sim", 7), ("real", 1), ("real", 2)], "failed"
    )
    assert bad[("real", 2)][1] == "ValueError: a defect of the engine"
    assert all(bad[("sim", 7)]) and all(bad[("real", 1)])
    assert sum("a worker died, a real cell" in note for note in notes) == 2  # three attempts in all
    assert listening and all(address in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for address in listening)
    assert dict(os.environ) == before
    assert list(folder.iterdir()) == []
    folder.rmdir()
    names = {child.name() for child in psutil.Process().children(recursive=True)}
    assert not {name for name in names if "ray" in name or "gcs" in name}


def _listening() -> set[str]:
    """Addresses on which this process and its children listen."""
    found = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            connections = process.net_connections("tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        found |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    return found
