"""Programs on pipes that answer every line with a number."""

import subprocess
import time
from collections.abc import Sequence

from mshare_bench.domain.application import Timing
from mshare_bench.errors import CellFailed

__all__ = ["answers", "tell"]


def answers(programs: "Sequence[subprocess.Popen[bytes]]", what: str) -> list[int]:
    """Wait for a line of each.

    Raises
    ------
    CellFailed
        When one has ended; its log says why.
    """
    found = []
    for one in programs:
        assert one.stdout is not None
        line = one.stdout.readline()
        if not line.strip():
            raise CellFailed(f"{what}: process {one.pid} has ended")
        found.append(int(line))
    return found


def tell(programs: "Sequence[subprocess.Popen[bytes]]", what: str) -> Timing:
    """Send a line to each, and wait until all have answered with the nanoseconds that it took."""
    start = time.perf_counter_ns()
    for one in programs:
        assert one.stdin is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
    each = answers(programs, what)
    return Timing(each, time.perf_counter_ns() - start)
