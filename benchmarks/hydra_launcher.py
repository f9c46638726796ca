"""The same simulated cells through Hydra's own launchers, which call the same function: cells a second, start-up left out.

    python benchmarks/hydra_launcher.py                     1,000 cells: ours beside Hydra's basic launcher
    python benchmarks/hydra_launcher.py --cells 100
    python benchmarks/hydra_launcher.py --launcher ray      in an environment with hydra-ray-launcher

Both compose the configuration of `mshare-bench run`, make the cell of it, predict it and put its rows on disk. Hydra composes and
calls once per job, and `job` writes a part of the store each time. Start-up is what passes before the first cell begins: the
imports, the first composition, Ray. It is printed beside.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def job(config: Any) -> None:
    """One of Hydra's jobs: the cell of a composed configuration, predicted and on disk."""
    from omegaconf import OmegaConf

    from mshare_bench.config.cells import CellMaker
    from mshare_bench.config.composer import Composition, flatten
    from mshare_bench.config.parts import CellContext, Claims
    from mshare_bench.results.files import write_part
    from mshare_bench.sim.engine import SimEngine

    begun = time.time()
    tree = OmegaConf.to_container(config, resolve=True)
    assert isinstance(tree, dict)
    made = CellMaker(Composition(dict(flatten(tree)), False, False), CellContext(lambda _: SimEngine.model), Claims())
    (cell,) = made.cells().cells
    folder = Path(os.environ["BENCHMARK_FOLDER"])
    for tables in SimEngine().run([cell]):
        write_part(folder / f"{cell.digest}.part", tables)
    with open(folder / "times", "a") as file:
        file.write(f"{begun} {time.time()}\n")


def of_hydra() -> None:
    """Hydra's program: what the child process of this benchmark runs."""
    import hydra

    from mshare_bench.config.sweeper import register_plugins

    register_plugins()
    hydra.main(version_base="1.3", config_path="pkg://mshare_bench.conf", config_name="config")(job)()


def hydras(axes: list[str], launcher: str, folder: Path) -> tuple[int, float, float]:
    """Cells, seconds from the first to the last, and seconds before."""
    environment = {**os.environ, "BENCHMARK_FOLDER": str(folder)}
    overrides = ["hydra/sweeper=basic", f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder / 'hydra'}"]
    overrides += ["hydra.output_subdir=.hydra", "tracking=none"]
    start = time.time()
    subprocess.run([sys.executable, __file__, "--hydra", "-m", *overrides, *axes], env=environment, check=True)
    lines = [tuple(map(float, line.split())) for line in (folder / "times").read_text().splitlines()]
    begun, ended = min(first for first, _ in lines), max(last for _, last in lines)
    return len(lines), ended - begun, begun - start


def ours(axes: list[str], executor: str, folder: Path) -> tuple[int, float, float]:
    """The same of `mshare-bench run`, in a process of its own."""
    texts = [*axes, f"executor={executor}", "tracking=none", f"out={folder / 'ours'}"]
    code = (
        "import json, sys, time; start = time.time()\n"
        "from contextlib import nullcontext\n"
        "from mshare_bench.cluster.connect import local_ray\n"
        "from mshare_bench.config.request import read_request\n"
        "from mshare_bench.study import Silent, plan_of, run_request\n"
        f"request = read_request({texts!r}, multirun=True)\n"
        f"with local_ray() if {executor!r} == 'ray' else nullcontext():\n"
        "    begun = time.time(); cells = run_request(request, Silent()).cells.num_rows\n"
        "    print(json.dumps([cells, time.time() - begun, begun - start]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cells, seconds, before = json.loads(found.stdout.splitlines()[-1])
    return int(cells), float(seconds), float(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--launcher", default="basic", choices=["basic", "ray"])
    options = parser.parse_args()
    processes = ",".join(map(str, range(1, options.cells // 2 + 1)))
    axes = [f"processes={processes}", "mechanism=shmem,mshare", "region=64MiB"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        found = {
            "mshare-bench": ours(axes, "inline" if options.launcher == "basic" else "ray", folder),
            f"hydra {options.launcher}": hydras(axes, options.launcher, folder),
        }
        for who, (cells, seconds, before) in found.items():
            print(f"{who:14} {cells:6} cells {seconds:8.2f} s {cells / seconds:10.0f} cells/s; start-up {before:.1f} s")
        rates = [cells / seconds for cells, seconds, _ in found.values()]
        print(f"{rates[0] / rates[1]:.0f} times the throughput")


if __name__ == "__main__":
    if "--hydra" in sys.argv:
        sys.argv.remove("--hydra")
        of_hydra()
    else:
        main()
