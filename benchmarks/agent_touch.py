"""Touch by an agent beside a bare C loop over the same memory, pass by pass on the same CPU.

The agent's cold pass must cost no more than 1.05 of the bare one; exit code 1 if it does. The passes are
short and go bare, agent, agent, bare; each such round gives one ratio, and their median is what counts, so that what
else the machine does weighs on both alike.

    python benchmarks/agent_touch.py [--mib 16] [--rounds 151]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mshare_bench.real.agent import Binding, Map, Program, Touch, Unmap
from mshare_bench.real.agent.build import find_compilers
from mshare_bench.real.agent.ops import REGIONS_START
from mshare_bench.real.launch import ProcessTree

LIMIT = 1.05


def compiled(folder: Path) -> Path:
    target = folder / "agent_touch"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([*find_compilers()[0], "-O2", "-o", str(target), str(source)], check=True)
    return target


def program(fd: int, pages: int, write: bool) -> Program:
    touch = Touch(REGIONS_START, count=pages, write=write)
    listed = Touch(REGIONS_START, pages=np.arange(pages, dtype=np.uint32), write=write)
    attach, unmap = Map(REGIONS_START, pages * 4096, fd=fd), Unmap(REGIONS_START, pages * 4096)
    return {"cold": [attach, touch, touch, unmap], "listed": [attach, listed, touch, unmap]}


def compare(
    bare_path: Path, fd: int, pages: int, write: bool, rounds: int, cpu: int
) -> dict[str, tuple[list[int], list[int]]]:
    """Nanoseconds of each round of each kind of pass, by the bare loop and by the agent."""
    times: dict[str, tuple[list[int], list[int]]] = {"cold": ([], []), "cold, from a list": ([], []), "warm": ([], [])}
    command = [str(bare_path), str(fd), str(REGIONS_START), str(pages), str(int(write))]
    with (
        subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[fd],
            text=True,
            bufsize=1,
        ) as bare,
        ProcessTree(
            [program(fd, pages, write)], 1, fds=[fd], bindings=[Binding(frozenset({cpu}))], binding=[0]
        ) as tree,
    ):
        stdin, stdout = bare.stdin, bare.stdout
        assert stdin is not None
        assert stdout is not None

        def bare_pass() -> np.ndarray:
            stdin.write("\n")
            return np.array(stdout.readline().split(), dtype=np.int64)

        def agent_pass(cold: str) -> np.ndarray:
            tree.run(cold)
            return tree.op_results(cold)["duration_ns"][0, 1:3]

        tree.launch()
        for _ in range(rounds):
            for cold in ("cold", "listed"):
                before, ours, ours_again, after = bare_pass(), agent_pass(cold), agent_pass(cold), bare_pass()
                theirs, ours = before + after, ours + ours_again
                kind = "cold" if cold == "cold" else "cold, from a list"
                for name, place in ((kind, 0), ("warm", 1)):
                    times[name][0].append(int(theirs[place]) // 2)
                    times[name][1].append(int(ours[place]) // 2)
        stdin.close()
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=151)
    options = parser.parse_args()
    cpu = max(os.sched_getaffinity(0))
    pages = options.mib * 256
    fd = os.memfd_create("agent-touch")
    for _ in range(options.mib):
        os.write(fd, bytes(1 << 20))
    late = False
    print(f"{options.mib} MiB, {options.rounds} rounds, CPU {cpu}; nanoseconds per page")
    print(f"{'medians':26}{'bare':>9}{'agent':>9}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        bare = compiled(Path(folder))
        for write in (False, True):
            for kind, (theirs, ours) in compare(bare, fd, pages, write, options.rounds, cpu).items():
                ratio = statistics.median(np.array(ours) / np.array(theirs))
                late |= kind == "cold" and ratio > LIMIT
                name = f"{'write' if write else 'read'}, {kind}"
                per_page = [statistics.median(values) / pages for values in (theirs, ours)]
                print(f"{name:26}{per_page[0]:9.2f}{per_page[1]:9.2f}{ratio:8.3f}")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
