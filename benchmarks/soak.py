"""kill -9 at random moments, then the same command until it ends: what is in the store afterwards.

    python benchmarks/soak.py                                   driver 50, worker 50, raylet 10, zygote 20
    python benchmarks/soak.py --driver 3 --worker 0 --raylet 0 --zygote 0 --seed 7

Driver, worker and raylet are killed in a simulated sweep of 44,000 cells; its rows must then be those of an undisturbed run, byte
for byte. The driver runs its cells inline, so that most moments meet it writing rows and not waiting for Ray to start; workers
are killed several times in one run, which goes on. A zygote (the root of a real cell's process tree) is killed in a real run; its
rows must be the same points and repeats, with the same status and equal page-table bytes and faults. Nothing may be there twice.
Takes root for the zygote. Nobody else may set kernel knobs meanwhile: they are part of a row's environment.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from mshare_bench.results.store import Store

_SIMULATED = (
    "-m",
    "mechanism=shmem,thp,inherit,mshare",
    "processes=1..20000+20",
    "region=64MiB..64GiB*2",
    "report=false",
)
_REAL = ("-m", "mechanism=shmem,thp", "processes=4,8", "region=64MiB", "access=sparse", "engine=real", "repeats=2",
         "executor=inline")  # fmt: skip
_RUNS = {
    "driver": (*_SIMULATED, "executor=inline"),
    "worker": (*_SIMULATED, "executor=ray"),
    "raylet": (*_SIMULATED, "executor=ray"),
    "zygote": _REAL,
}
_AT_ONCE = {"worker": 5}
"""Kills in one run; it ends with the others."""
_EXACT = ("pte_table_bytes", "data_bytes", "minor_faults")
_MOMENTS = 5
"""Runs for each kill at the most, late moments being too late for some."""
_NAMES = {"worker": ("ray::", "default_worker.py"), "raylet": ("raylet",)}


def command(arguments: tuple[str, ...], out: Path) -> list[str]:
    return [sys.executable, "-m", "mshare_bench", "run", *arguments, f"out={out}", "tracking=none", "--quiet"]


def victims(driver: int, kind: str) -> list[int]:
    """Processes of that kind below the driver."""
    if kind == "driver":
        return [driver]
    if kind == "zygote":  # it and its agents name their controller, and the oldest is the root
        words = ((one, one.info["cmdline"] or [""]) for one in psutil.process_iter(["cmdline", "create_time"]))
        own = [one for one, line in words if "mshare-agent" in line[0] and str(driver) in line]
        return [one.pid for one in sorted(own, key=lambda one: (one.info["create_time"], one.pid))[:1]]
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(driver).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                program = " ".join(child.cmdline()[:2])
                if any(name in program for name in _NAMES[kind]):
                    found.append(child.pid)
    return found


def disturbed(arguments: tuple[str, ...], out: Path, kind: str, moments: Sequence[float]) -> int:
    """Start the run, kill one of that kind after so many seconds each, and run until it ends well; how many were killed."""
    killed, start = 0, time.monotonic()
    with subprocess.Popen(command(arguments, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        for moment in sorted(moments):
            time.sleep(max(0.0, start + moment - time.monotonic()))
            # Those of a real cell live for a part of a second: the next one is waited for.
            while not (found := victims(run.pid, kind)) and run.poll() is None:
                time.sleep(0.02)
            if found and run.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(random.choice(found), signal.SIGKILL)
                    killed += 1
    for _ in range(3):
        again = subprocess.run(command(arguments, out), capture_output=True, text=True, check=False)
        if again.returncode == 0:
            return killed
    rows = [f"{row['status']}: {row['error']}" for row in Store.open(out).table("cells").to_pylist() if row["error"]]
    said = "; ".join([again.stderr.strip(), *rows])
    raise SystemExit(f"{kind} killed after {moments} s: the same command ends with {again.returncode}: {said}")


def difference(kind: str, out: Path, undisturbed: Path) -> str:
    """What differs from the undisturbed run; empty for nothing."""
    rows = Store.open(out).table("cells").to_pylist()
    if len({(row["cell"], row["repeat"]) for row in rows}) < len(rows):
        return "a row is there twice"
    if kind != "zygote":
        names = [path.name for path in undisturbed.glob("*.arrow")]
        return ", ".join(name for name in names if (out / name).read_bytes() != (undisturbed / name).read_bytes())
    keys = ("point", "repeat", "status", *_EXACT)
    one, other = (
        sorted(tuple(str(row[key]) for key in keys) for row in Store.open(path).table("cells").to_pylist())
        for path in (out, undisturbed)
    )
    return "" if one == other else "points, statuses or exact columns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, times in (("driver", 50), ("worker", 50), ("raylet", 10), ("zygote", 20)):
        parser.add_argument(f"--{kind}", type=int, default=times, help=f"times that a {kind} is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    random.seed(options.seed)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, arguments in _RUNS.items():
            wanted, killed, runs, wrong = getattr(options, kind), 0, 0, []
            if not wanted:
                continue
            undisturbed, start = folder / kind, time.monotonic()
            subprocess.run(command(arguments, undisturbed), check=True)
            taken = time.monotonic() - start
            while killed < wanted and runs < _MOMENTS * wanted:
                out, runs = folder / f"{kind}-{runs}", runs + 1
                count = min(_AT_ONCE.get(kind, 1), wanted - killed)
                moments = [random.uniform(0.1, 1.0) * taken for _ in range(count)]
                killed += disturbed(arguments, out, kind, moments)
                if found := difference(kind, out, undisturbed):
                    wrong.append(f"{', '.join(f'{moment:.2f} s' for moment in moments)}: {found}")
                shutil.rmtree(out)
            failed += len(wrong) + (killed < wanted)
            print(f"{kind}: {killed} killed in {runs} runs, {len(wrong)} differ {wrong or ''}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
