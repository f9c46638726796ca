"""A/A and a planted slowdown: how often a comparison of real runs is wrong, and what it finds.

    python benchmarks/noise_floor.py                       experiment=aa four times, every pair compared
    python benchmarks/noise_floor.py --runs 2 --repeats 8

Equal runs should show no difference. Then every touch time of one run of a pair is made 10 % longer, in its rows, and the touch
times of that pair should be found to be worse. Takes root, as real cells do.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa

from mshare_bench.results.compare import compare
from mshare_bench.results.store import Store

_SLOW = ("touch_ns", "touch_ns_lo", "touch_ns_hi")


def run(folder: Path, repeats: int) -> Store:
    command = [sys.executable, "-m", "mshare_bench", "run", "experiment=aa", f"repeats={repeats}", f"out={folder}"]
    subprocess.run([*command, "tracking=none", "--quiet"], check=True)
    return Store.open(folder)


def slowed(store: Store, folder: Path, factor: float) -> Store:
    """The same rows with longer touch times."""
    tables = {name: store.table(name) for name in ("cells", "environments")}
    for name in _SLOW:
        at = tables["cells"].schema.get_field_index(name)
        longer = [None if value is None else value * factor for value in tables["cells"][name].to_pylist()]
        tables["cells"] = tables["cells"].set_column(
            at, tables["cells"].schema.field(at), pa.array(longer, pa.float64())
        )
    with Store.create(folder, "planted", sweep=store.info.sweep, config={}) as planted:
        planted.append(tables)
        planted.compact()
    return Store.open(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--planted", type=float, default=0.1, help="share by which touch is made slower")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = [run(folder / f"run-{number}", options.repeats) for number in range(options.runs)]
        wrong = tests = found = touches = 0
        pairs = list(itertools.combinations(range(options.runs), 2))
        for first, second in pairs:
            same = compare(stores[first], stores[second])
            shown = [one for one in same.differences if one.verdict in ("worse", "better")]
            wrong, tests = wrong + bool(shown), tests + same.tests
            for one in shown:
                print(f"  runs {first} and {second}: {one.cell['mechanism']} {one.column} {one.change:+.1%}")
            slow = slowed(stores[second], folder / f"slow-{first}-{second}", 1 + options.planted)
            planted = [one for one in compare(stores[first], slow).differences if one.column == "touch_ns"]
            touches += len(planted)
            found += sum(one.verdict == "worse" for one in planted)
        print(f"equal runs: {wrong} of {len(pairs)} comparisons show a difference ({tests} tests in all)")
        print(f"touch {options.planted:.0%} slower: found in {found} of {touches}")


if __name__ == "__main__":
    main()
