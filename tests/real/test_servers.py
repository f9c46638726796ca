"""Processes of a run: they die with it, what they say when they fail is told, nothing is left."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.procfs import start_time
from mshare_bench.real.servers import Servers, log_end
from tests.requirements import require


def test_the_end_of_a_log_is_in_the_error(tmp_path):
    servers = Servers(tmp_path, timeout=5)
    servers.spawn(["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; exit 7"], name="server")
    with pytest.raises(CellFailed, match=r"server: ended with 7: line 3 \| line 4 \| line 5"):
        servers.wait("server", lambda: False)
    servers.close()


def test_what_takes_too_long_says_what_it_said(tmp_path):
    servers = Servers(tmp_path, timeout=0.5)
    servers.spawn(["sh", "-c", "echo waiting for a lock; sleep 60"], name="server")
    with pytest.raises(CellFailed, match="socket: not ready after 0 s: waiting for a lock"):
        servers.wait("socket", lambda: False)
    servers.close()


def test_run_gives_the_output_and_names_a_failure(tmp_path):
    servers = Servers(tmp_path, timeout=5)
    assert servers.run(["echo", "a b"]) == "a b\n"
    with pytest.raises(CellFailed, match="false: ended with 1"):
        servers.run(["false"])
    with pytest.raises(CapabilityError, match="no-such-program: can't be started"):
        servers.run(["no-such-program"])
    servers.close()


@pytest.mark.kernel
def test_a_user_that_is_not_there_is_named(tmp_path):
    require("kernel", os.geteuid() == 0, "only root starts processes as others")
    with pytest.raises(CapabilityError, match="nobody-of-that-name: there is no such user"):
        Servers(tmp_path).spawn(["true"], user="nobody-of-that-name")


def test_pids_are_what_was_started_and_what_that_started(tmp_path):
    servers = Servers(tmp_path, timeout=5)
    first = servers.spawn(["sh", "-c", "sleep 60 & sleep 60 & wait"], name="tree")
    servers.wait("children", lambda: len(servers.pids()) == 3)
    found = servers.pids()
    assert first.pid in found
    servers.close()
    assert all(start_time(pid) is None for pid in found)


def test_they_die_with_a_killed_run(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from mshare_bench.real.servers import Servers\n"
        "servers = Servers(Path(sys.argv[1])); print(servers.spawn(['sleep', '100']).pid, flush=True); sys.stdin.read()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(run.stdout.readline())
    assert start_time(pid) is not None
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 5
    while start_time(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert start_time(pid) is None


def test_no_log_is_an_empty_end(tmp_path: Path):
    assert log_end(tmp_path / "none.log") == ""
