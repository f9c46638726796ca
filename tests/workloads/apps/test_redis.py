"""Redis: a snapshot child has its parent's tables over again, and the report says that sharing does not help."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from mshare_bench.report.applications import figures_said
from mshare_bench.study import run
from mshare_bench.workloads.apps._resp import Redis
from tests.requirements import require
from tests.workloads.apps.installed import program

pytestmark = [pytest.mark.apps, pytest.mark.timeout(200), pytest.mark.usefixtures("own_folder")]


@pytest.fixture(autouse=True)
def _installed():
    require("apps", program("redis-server"), "redis-server is not installed")
    require("apps", os.geteuid() == 0, "reading another process's pagemap takes root here")


def test_children_have_their_parents_tables():
    result = run(workload="app_redis", processes=4, region="128MiB", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    measured, predicted = rows["real"]["page_table_bytes"], rows["sim"]["page_table_bytes"]
    assert measured == pytest.approx(predicted, rel=0.02)
    # Two servers of 64 MiB and their two children: 32 stretches of 2 MiB each at the least.
    assert measured >= 4 * 32 * 4096
    groups = {
        row["group"]: row["processes"]
        for row in result.table("groups").to_pylist()
        if row["cell"] == rows["real"]["cell"]
    }
    assert groups == {"servers": 2, "snapshots": 2}
    assert rows["real"]["fork_ns"] > 0
    figures = {row["figure"]: row["value"] for row in result.table("figures").to_pylist()}
    assert figures["data_of_a_server"] >= 64 << 20
    console = Console(width=200, record=True)
    console.print(figures_said(result.cells, result.table("figures")))
    assert "mshare does not help here" in console.export_text()


def test_errors_of_the_server_are_said(tmp_path: Path):
    import subprocess
    import time

    from mshare_bench.errors import CellFailed

    socket = Path("/tmp") / f"mshare-bench-test-{os.getpid()}.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not socket.exists():
            time.sleep(0.02)
        redis = Redis(socket, 5)
        assert redis("SET", "key", "a b\r\nc") == "OK"
        assert redis("GET", "key") == "a b\r\nc"
        assert int(redis.info("memory")["used_memory"]) > 0
        with pytest.raises(CellFailed, match="redis: .*NO-SUCH-COMMAND|redis: ERR unknown command"):
            redis("NO-SUCH-COMMAND")
        server.terminate()
        server.wait()
        with pytest.raises(CellFailed):
            redis("PING")
        redis.close()
    finally:
        server.kill()
        server.wait()
        socket.unlink(missing_ok=True)
