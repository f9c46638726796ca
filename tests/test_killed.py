"""kill -9 of a run at any moment, then the same command: nothing is left, every knob is as before, the store is readable."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.knobs import knobs
from mshare_bench.results.store import Store
from tests.requirements import require

pytestmark = pytest.mark.kernel

COMMAND = (
    sys.executable, "-m", "mshare_bench", "run", "-m", "mechanism=shmem,hugetlb,thp", "processes=20,40", "region=256MiB",
    "access=sparse", "engine=real", "executor=inline", "tracking=none", "--quiet",
)  # fmt: skip


def knob_values():
    found = {}
    for name, knob in knobs().items():
        with contextlib.suppress(CapabilityError):
            found[name] = knob.read()
    return found


def agents(controller):
    """Agents and zygotes of a controller, which is named in their arguments; other runs on this machine have their own."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"mshare-agent" in words[0] and str(controller).encode() in words:
                found.add(int(folder.name))
    return found


@pytest.fixture(autouse=True)
def _root():
    require("kernel", os.geteuid() == 0, "setting hugepages takes root")
    agent_path()


@pytest.mark.parametrize("moment", [0.3, 1.1, 1.7, 2.6])
def test_after_kill_9_the_same_command_goes_on_and_nothing_is_left(tmp_path, moment):
    before = knob_values()
    command = [*COMMAND, f"out={tmp_path / 'run'}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while agents(run.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not agents(run.pid), "agents die with their controller"
    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0, again.stderr
    assert knob_values() == before
    assert not agents(run.pid)
    rows = Store.open(tmp_path / "run").table("cells").to_pylist()
    assert len(rows) == len({(row["cell"], row["repeat"]) for row in rows}) == 6
    assert {row["status"] for row in rows} == {"ok"}
