"""A worker, a raylet and a zygote are killed three times each at random moments; the same command then gives what it should."""

import datetime
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from tests.requirements import require

SOAK = Path(__file__).parent.parent / "benchmarks" / "soak.py"
KINDS = ("driver", "worker", "raylet", "zygote")


def soak(kind: str, times: int) -> str:
    counts = [word for one in KINDS for word in (f"--{one}", str(times if one == kind else 0))]
    seed = os.environ.get("MSHARE_BENCH_SEED") or datetime.date.today().isoformat()
    command = [sys.executable, str(SOAK), *counts, "--seed", str(zlib.crc32(seed.encode()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith(kind))


@pytest.mark.timeout(900)  # Ray starts eight times
@pytest.mark.parametrize("kind", ["worker", "raylet"])
def test_rows_of_a_simulated_sweep_are_those_of_an_undisturbed_run(kind: str) -> None:
    assert re.fullmatch(rf"{kind}: 3 killed in [1-9][0-9]* runs, 0 differ ", soak(kind, 3))


@pytest.mark.kernel
def test_a_real_run_has_the_same_points_statuses_and_exact_columns() -> None:
    require("kernel", os.geteuid() == 0, "real cells take root")
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))
    assert re.fullmatch(r"zygote: 3 killed in [1-9][0-9]* runs, 0 differ ", soak("zygote", 3))
