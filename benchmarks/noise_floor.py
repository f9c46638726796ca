"""A/A and a planted slowdown: how often a comparison of real runs is wrong, and what it finds.

    python benchmarks/noise_floor.py                       20 pairs of runs of experiment=aa, 20 repeats each
    python benchmarks/noise_floor.py --pairs 3 --repeats 8

The two runs of a pair take turns for every repeat; a coin says who comes first. Equal as they are, they should show no
difference. Then every touch time of the second is made 10 % longer, in its rows, and should be found to be worse. Beside it
stands what the same repeats say of runs that did not take turns: the first run of each pair against that of the next. Takes
root, as real cells do.
"""

import argparse
import itertools
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from mshare_bench.cluster.batch import run_batch
from mshare_bench.config.request import read_request
from mshare_bench.real.engine import RealEngine, RealOptions
from mshare_bench.results.compare import Comparison, Difference, compare
from mshare_bench.results.store import Store
from mshare_bench.study.engines import where_here
from mshare_bench.study.plan import plan_of

_SLOW = ("touch_ns", "touch_ns_lo", "touch_ns_hi")


def pair_of(folder: Path, repeats: int) -> tuple[Store, Store]:
    """Two runs of the same that take turns; a coin says who comes first, so that nothing that comes back regularly favours one.

    It is what `run experiment=aa repeats=N out=...` does for each side and N in turn, composed and planned once.
    """
    request = read_request(["experiment=aa", f"repeats={repeats}", "tracking=none"], multirun=False)
    plan, real, where = plan_of(request), request.settings.real, where_here()
    engine = RealEngine(RealOptions(real.reserve_bytes, real.parallel, real.timeout_ns / 1e9, real.samples))
    turns = [[cell for cell in plan.cells if cell.repeat == repeat] for repeat in range(repeats)]
    for cell in turns[0] * real.warmups:
        engine.gather(cell)
    sides = [folder / "a", folder / "b"]
    with Store.create(sides[0], "a") as first, Store.create(sides[1], "b") as second:
        for cells in turns:
            for side in random.sample((first, second), 2):
                for cell in cells:
                    side.append(run_batch([cell], engine, where))
        first.compact()
        second.compact()
    return Store.open(sides[0]), Store.open(sides[1])


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


def changed(found: Comparison) -> list[Difference]:
    return [one for one in found.differences if one.verdict in ("worse", "better")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--planted", type=float, default=0.1, help="share by which touch is made slower")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    wrong, tests, firsts, began = 0, 0, [], time.monotonic()
    seen: Counter[str] = Counter()
    found: Counter[str] = Counter()
    estimates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.pairs):
            folder = Path(name) / str(number)
            first, second = pair_of(folder, options.repeats)
            firsts.append(first)
            same = compare(first, second)
            wrong, tests = wrong + bool(changed(same)), tests + same.tests
            for one in changed(same):
                print(
                    f"  pair {number}: {one.cell['mechanism']} {one.column} {one.change:+.1%} p={one.p:.3f}", flush=True
                )
            for one in compare(first, slowed(second, folder / "slow", 1 + options.planted)).differences:
                if one.column == "touch_ns":
                    mechanism = one.cell["mechanism"]
                    seen[mechanism] += 1
                    found[mechanism] += one.verdict == "worse"
                    estimates.setdefault(mechanism, []).append(one.change or 0.0)
        took = time.monotonic() - began
        print(f"{options.pairs} pairs of {options.repeats} repeats in {took:.0f} s, load {os.getloadavg()[0]:.1f}")
        print(f"equal runs that took turns: {wrong} of {options.pairs} comparisons show a difference ({tests} tests)")
        total = f"{sum(found.values())} of {sum(seen.values())}"
        print(f"touch {options.planted:.0%} slower: found in {total}")
        for mechanism, values in estimates.items():
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            print(
                f"  {mechanism:14}{found[mechanism]} of {seen[mechanism]}, seen as {low:+.1%} ... {middle:+.1%} ... {high:+.1%}"
            )
        apart(firsts)


def apart(runs: list[Store]) -> None:
    """Runs that followed each other: what a test of all repeats would claim, and how far their touch times are apart."""
    pairs = list(itertools.pairwise(runs))
    if not pairs:
        return
    believed = sum(bool(changed(compare(*pair, drift=0))) for pair in pairs)
    claimed = sum(bool(changed(compare(*pair))) for pair in pairs)
    distances: dict[str, list[float]] = {}
    for pair in pairs:
        for one in compare(*pair, columns=["touch_ns"]).differences:
            distances.setdefault(one.cell["mechanism"], []).append(abs(one.change or 0.0))
    print(
        f"runs one after the other: {claimed} of {len(pairs)} show a difference; without regard to drift {believed} would"
    )
    for mechanism, values in distances.items():
        print(f"  {mechanism:14}touch {np.median(values):.1%} apart at the median, {max(values):.1%} at most")


if __name__ == "__main__":
    main()
