"""kill -9 of a simulated sweep at any moment, then the same command: the rows of an undisturbed run, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mshare_bench.results.store import Store

COMMAND = (
    sys.executable, "-m", "mshare_bench", "run", "-m", "mechanism=shmem,hugetlb,thp,mshare", "processes=1..2000+1",
    "region=64MiB", "executor=inline", "tracking=none", "--quiet",
)  # fmt: skip


def start(folder: Path, out: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.Popen([*COMMAND, f"out={out}"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def test_what_was_on_disk_is_kept_and_nothing_comes_twice(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(tmp_path, undisturbed).wait(300) == 0
    kept = 0
    for parts in (1, 2, 3):  # killed right after so many parts were there, the third time maybe while compacting
        run = start(tmp_path, killed)
        deadline = time.monotonic() + 120
        while (
            run.poll() is None and len(list((killed / "parts").glob("*.arrow"))) < parts and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.wait(60)
        finished = len(Store.open(killed).finished()) if (killed / "store.json").exists() else 0
        assert finished >= kept
        kept = finished
    assert kept > 0
    assert start(tmp_path, killed).wait(300) == 0
    names = sorted(path.name for path in undisturbed.glob("*.arrow"))
    assert "cells.arrow" in names and names == sorted(path.name for path in killed.glob("*.arrow"))
    one, other = Store.open(killed).table("cells"), Store.open(undisturbed).table("cells")
    assert one.num_rows == 8000
    assert one.drop_columns(["env"]).equals(other.drop_columns(["env"]))
    same = (
        one["env"].unique() == other["env"].unique()
    )  # a knob or a commit of somebody else's changes it on a busy machine
    for name in names if same else set(names) - {"cells.arrow", "environments.arrow"}:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
