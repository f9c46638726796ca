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


def agents():
    """Processes of the agent's program; those of other runs on this machine are told apart by the caller."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "exe").readlink().name.startswith("mshare-agent") or "mshare-agent" in (
                folder / "comm"
            ).read_text():
                found.add(int(folder.name))
    return found


@pytest.fixture(autouse=True)
def _root():
    require("kernel", os.geteuid() == 0, "setting hugepages takes root")
    agent_path()


@pytest.mark.parametrize("moment", [0.3, 1.1, 1.7, 2.6])
def test_after_kill_9_the_same_command_goes_on_and_nothing_is_left(tmp_path, moment):
    before, agents_before = knob_values(), agents()
    command = [*COMMAND, f"out={tmp_path / 'run'}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while agents() - agents_before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not agents() - agents_before, "agents die with their controller"
    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0, again.stderr
    assert knob_values() == before
    assert not agents() - agents_before
    rows = Store.open(tmp_path / "run").table("cells").to_pylist()
    assert len(rows) == len({(row["cell"], row["repeat"]) for row in rows}) == 6
    assert {row["status"] for row in rows} == {"ok"}
