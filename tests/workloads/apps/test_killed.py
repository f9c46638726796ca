"""kill -9 of a run, or of a server of it, in the middle: nothing stays running, mounted or set once another run has started.

That the same command goes on is tested with PostgreSQL.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.knobs import knobs
from mshare_bench.real.private_folder import folders_root
from mshare_bench.results.store import Store
from tests.requirements import require
from tests.workloads.apps.installed import module, program

pytestmark = [pytest.mark.apps, pytest.mark.timeout(240)]

#: Of each: what must be installed, its arguments, and how many processes it has when it is killed.
APPS = {
    "app_containers": (program("unshare"), ["processes=3", "region=40MiB"], 3),
    "app_mpi": (module("mpi4py"), ["processes=3", "region=64MiB", "mechanism=shmem"], 4),
    "app_redis": (program("redis-server"), ["processes=4", "region=128MiB"], 2),
    "app_vm": (program("qemu-system-x86_64"), ["processes=2", "region=32MiB", "mechanism=ksm"], 2),
    "app_ray_store": (module("ray"), ["processes=2", "region=64MiB", "mechanism=shmem"], 4),
    "app_command": (
        True,
        [f"workload.start=[{sys.executable},program.py]", "workload.duration=500ms", "engine=real"],
        3,
    ),
}


def processes_of(folder):
    """Processes of a run: servers start in its folder, and what they start as well, or names it."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = (one / "cwd").readlink().is_relative_to(folder)
            if inside or str(folder).encode() in (one / "cmdline").read_bytes():
                found.append(int(one.name))
    return found


def state():
    """What a run might leave on the machine."""
    values = {}
    for name, knob in knobs().items():
        if not name.startswith("ksm_"):  # the only ones that these applications set
            continue
        with contextlib.suppress(CapabilityError):
            values[name] = knob.read()
    mounts = Path("/proc/self/mountinfo").read_text()
    memory = {one for one in os.listdir("/dev/shm") if not one.startswith("sem.")}
    groups = {where for where, _, _ in os.walk("/sys/fs/cgroup") if "/mshare-bench-" in where}
    return {"knobs": values, "mounts": mounts, "shared memory": memory, "groups": groups}


_NEXT = ["workload.warmup=100ms", "workload.duration=100ms", "engine=real"]
_PROGRAM = """
import mmap, os, time
memory = mmap.mmap(-1, 8 << 20)
os.fork()
os.fork()
memory[:] = bytes(8 << 20)
time.sleep(60)
"""


class Run:
    """A run of an application, in a process of its own."""

    def __init__(self, name, arguments, folder):
        self.command = [
            sys.executable, "-m", "mshare_bench", "run", f"workload={name}", *arguments, "tracking=none", "--quiet",
            f"out={folder / 'o'}",
        ]  # fmt: skip
        self.environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        self.cwd = folder

    def start(self):
        with open(self.cwd / "said", "w") as said:
            self.process = subprocess.Popen(self.command, cwd=self.cwd, env=self.environment, stderr=said)

    def until(self, count):
        """Wait until it has so many processes; give its folder."""
        deadline = time.monotonic() + 60
        while True:
            mine = [
                one.parent
                for one in folders_root().glob("*/owner.json")
                if f'"pid": {self.process.pid},' in one.read_text()
            ]
            if mine and len(processes_of(mine[0])) >= count:
                return mine[0]
            assert time.monotonic() < deadline
            assert self.process.poll() is None, (self.cwd / "said").read_text()
            time.sleep(0.02)

    def rows(self):
        return Store.open(self.cwd / "o").table("cells").to_pylist()


@pytest.fixture(params=list(APPS))
def run(request, tmp_path):
    installed, arguments, count = APPS[request.param]
    require("apps", bool(installed), f"what {request.param} needs is not installed")
    require("apps", os.geteuid() == 0, "reading another process's pagemap takes root")
    (tmp_path / "program.py").write_text(_PROGRAM)
    started = Run(request.param, [one.replace("program.py", f"{tmp_path}/program.py") for one in arguments], tmp_path)
    started.count = count
    yield started
    with contextlib.suppress(ProcessLookupError):
        started.process.kill()
    started.process.wait()


def gone(folder, seconds=10):
    deadline = time.monotonic() + seconds
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes_of(folder)


def test_after_kill_9_of_the_run_the_next_one_leaves_nothing_of_it(run, tmp_path):
    before = state()
    run.start()
    folder = run.until(run.count)
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    (tmp_path / "next").mkdir()
    another = Run(
        "app_command", [*_NEXT, f"workload.start=[{sys.executable},{tmp_path}/program.py]"], tmp_path / "next"
    )
    another.start()
    assert another.process.wait(60) == 0, (tmp_path / "next" / "said").read_text()
    assert {row["status"] for row in another.rows()} == {"ok"}
    assert not gone(folder), "of the run that was killed"
    assert not folder.exists()
    assert state() == before


def test_a_server_that_is_killed_voids_its_row_and_nothing_is_left(run):
    before = state()
    run.start()
    folder = run.until(run.count)
    victim = min(processes_of(folder))
    os.kill(victim, signal.SIGKILL)
    assert run.process.wait(150) == 1, (run.cwd / "said").read_text()
    assert not gone(folder)
    assert not folder.exists()
    assert state() == before
    (real,) = [row for row in run.rows() if row["engine"] == "real"]
    assert real["status"] == "void"
    assert "\n" not in real["error"]
    assert "ended" in real["error"]
