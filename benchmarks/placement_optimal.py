"""How fast and how near the optimum placement is found, on random problems of 32 groups x 8 nodes and 200 x 16.

Run from the project's root: `python -m benchmarks.placement_optimal [--instances N] [small|large|heuristic]`. The targets:

- 32 x 8 proven in 15 s on 20 of 20;
- 200 x 16 proven or within 1 % in 60 s;
- the heuristic (search, and pieces for 3 s) at the median at most 5 % from the optimum.

`gap` is relative to the whole cost, `strict` to the part of it that a placement can change. What counts is the CPU time, which is
the time in all where the machine is idle: HiGHS runs in one thread.
"""

import argparse
import random
import statistics
import sys
import time

from mshare_bench.errors import PlacementError
from mshare_bench.placement.cost import cost_of
from mshare_bench.placement.heuristic import improve
from mshare_bench.placement.optimal import Optimum, approximate, optimize
from mshare_bench.placement.problem import Problem, make_problem
from tests.placement.instances import random_demands, random_topology


def problems(groups: int, nodes: int, machines: int, count: int, traffic: float) -> list[tuple[int, Problem]]:
    """The first so many seeds whose problem has room; every other machine is odd."""
    found: list[tuple[int, Problem]] = []
    seed = 0
    while len(found) < count:
        rng = random.Random(seed)
        topology = random_topology(rng, nodes, machines, odd=seed % 2 == 0)
        try:
            found.append((seed, make_problem(topology, random_demands(rng, topology, groups, traffic=traffic))))
        except PlacementError as error:
            print(f"seed {seed}: left out: {error}", file=sys.stderr)
        seed += 1
    return found


def _times(optimum: Optimum, cpu: float) -> str:
    return f"{cpu:.1f} s of CPU, {optimum.seconds:.1f} s in all"


def small(count: int, seconds: float) -> bool:
    done = 0
    for seed, problem in problems(32, 8, 1, count, 0.0):
        began = time.process_time()
        optimum = optimize(problem, time_limit=seconds)
        cpu = time.process_time() - began
        done += optimum.proven and cpu <= 15
        print(
            f"32 x 8, seed {seed}: {_times(optimum, cpu)}, proven {optimum.proven}, gap {optimum.gap:.1e}", flush=True
        )
    print(f"32 x 8: proven in 15 s: {done} of {count}")
    return done == count


def large(count: int, seconds: float) -> bool:
    done = 0
    for machines, traffic in ((4, 0.2), (1, 0.0)):
        for seed, problem in problems(200, 16, machines, count, traffic):
            began = time.process_time()
            optimum = optimize(problem, time_limit=seconds, gap=0.01)
            cpu = time.process_time() - began
            done += optimum.gap <= 0.01 and cpu <= 60
            shape = f"200 x {machines} machines of {16 // machines}, seed {seed}"
            gaps = f"gap {optimum.gap:.4f}, strict {optimum.strict_gap:.3f}"
            print(f"{shape}: {_times(optimum, cpu)}, {gaps}", flush=True)
    print(f"200 x 16: within 1 % in 60 s: {done} of {2 * count}")
    return done == 2 * count


def heuristic(count: int, seconds: float) -> bool:
    gaps: dict[str, list[float]] = {"search": [], "search and pieces": []}
    for seed, problem in problems(32, 8, 1, count, 0.0):
        optimum = optimize(problem, time_limit=seconds)
        if not optimum.proven:
            raise SystemExit(
                f"seed {seed}: the optimum was not proven in {seconds:g} s, so there is nothing to compare with"
            )
        for name, run in (
            ("search", lambda p=problem: cost_of(p, improve(p))),
            ("search and pieces", lambda p=problem: approximate(p, time_limit=3.0, gap=0.0).cost),
        ):
            began = time.process_time()
            cost = run()
            excess = cost.total - optimum.cost.total
            gaps[name].append(excess / max(optimum.cost.variable, 1e-9 * cost.total))
            print(
                f"{name}, seed {seed}: {time.process_time() - began:.1f} s of CPU, gap {excess / optimum.cost.total:.4f}, "
                f"strict {gaps[name][-1]:.3f}",
                flush=True,
            )
    for name, strict in gaps.items():
        print(f"{name}: median strict gap {statistics.median(strict):.4f}")
    return statistics.median(gaps["search and pieces"]) <= 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="*", choices=["small", "large", "heuristic"], default=["small", "large", "heuristic"]
    )
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument(
        "--seconds", type=float, default=58.0, help="time limit; more where the machine is busy otherwise"
    )
    arguments = parser.parse_args()
    runs = {"small": small, "large": large, "heuristic": heuristic}
    results = [runs[what](arguments.instances, arguments.seconds) for what in arguments.what]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
