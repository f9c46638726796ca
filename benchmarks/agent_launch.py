"""What it costs to launch, command and end many agents, beside the ways that Python itself has to start a process.

The target is 150 us per process at 5,000 agents; exit code 1 if the median of the rounds is over it.

    python benchmarks/agent_launch.py [--agents 5000] [--rounds 5]
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from mshare_bench.real.agent import Map, Program, Spawn, Touch, agent_path
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree

LIMIT_US = 150.0


def spent(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def one_round(agents: int, spawn: Spawn, fd: int) -> dict[str, float]:
    """Seconds for all agents, by phase."""
    touch = Touch(REGIONS_START, count=1)
    first: Program = {"attach": [Map(REGIONS_START, 2 << 20, fd=fd)], "touch": [touch], "idle": []}
    others: Program = first if spawn == Spawn.FORK else {"touch": [touch]}
    tree = ProcessTree([first, others], agents, np.minimum(np.arange(agents), 1), spawn=spawn, fds=[fd])
    with tree:
        times = {"launch": spent(tree.launch)}
        for phase in ("idle", "attach", "touch"):
            times[phase] = spent(functools.partial(tree.run, phase))
        times["exit"] = spent(tree.exit)
    with ProcessTree([first], agents, spawn=Spawn.FORK, fds=[fd]) as tree:
        tree.launch()
        times["kill all"] = spent(tree.close)
    return times


def python_ways(count: int) -> dict[str, float]:
    """Seconds per process that Python needs to start and reap the agent's binary, which exits at once."""
    command = [str(agent_path()), "exit"]

    def spawn() -> None:
        for _ in range(count):
            os.waitpid(os.posix_spawn(command[0], command, {}), 0)

    def run() -> None:
        for _ in range(count):
            subprocess.run(command, check=True)

    return {"posix_spawn + wait": spent(spawn) / count, "subprocess.run": spent(run) / count}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    fd = os.memfd_create("agent-launch")
    os.write(fd, bytes(2 << 20))
    print(f"{options.agents} agents, {options.rounds} rounds; microseconds per process, medians (lowest)")
    launch: dict[Spawn, float] = {}
    for spawn in Spawn:
        rounds = [one_round(options.agents, spawn, fd) for _ in range(options.rounds)]
        cells = []
        for phase in rounds[0]:
            values = [1e6 * times[phase] / options.agents for times in rounds]
            launch.setdefault(spawn, statistics.median(values))
            cells.append(f"{phase} {statistics.median(values):.1f} ({min(values):.1f})")
        print(f"{spawn.name.lower():10}" + "   ".join(cells))
    for way, seconds in python_ways(300).items():
        print(f"{way:20} {1e6 * seconds:8.1f} us, {1e6 * seconds / launch[Spawn.FORK]:.1f} times the zygote's launch")
    return int(launch[Spawn.FORK] > LIMIT_US)


if __name__ == "__main__":
    sys.exit(main())
