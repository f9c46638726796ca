"""The guest's side: takes cells from the serial line, runs them with the real engine, and sends their rows back.

Started by the initramfs as `python -m mshare_bench.real.guest.inside DEVICE`; with `--files` it lists what it has loaded instead,
which is how the initramfs is put together.
"""

import json
import os
import sys
import termios
import tty
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.errors import MshareBenchError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.real.agent import build
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.counters import counters
from mshare_bench.real.engine import RealEngine, RealOptions
from mshare_bench.real.environment import read_environment
from mshare_bench.real.guest.wire import cell_from_mapping, decode, encode
from mshare_bench.real.sysfs import read_topology
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.workloads.registry import workloads

__all__ = ["answer", "serve"]

_PROBE_BYTES = 64 << 10


def answer(request: Mapping[str, Any], engine: RealEngine) -> dict[str, Any]:
    """Run one cell; whatever goes wrong with it comes back as its row."""
    try:
        cell = cell_from_mapping(request["cell"])
    except MshareBenchError as error:
        return {"refused": str(error)}
    try:
        rows = engine.gather(cell)
    except Exception as error:  # the guest must live on for the cells to come, and nobody else would see this error
        rows = Rows()
        rows.add("cells", **cell_columns(cell, "failed", f"{type(error).__name__}: {error}"))
    return {"tables": rows.columns()}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Say what this kernel is, then answer requests until there are no more."""
    _send(answers, {"environment": dict(read_environment())})
    engine = RealEngine()
    while text := requests.readline():
        request = decode(text)
        if "options" in request:
            engine = RealEngine(RealOptions(**request["options"]))
        if "cell" in request:
            _send(answers, answer(request, engine))


def _send(answers: BinaryIO, message: Mapping[str, Any]) -> None:
    answers.write(encode(message))
    answers.flush()


def _load_all() -> list[str]:
    """Load what is otherwise loaded on demand, and list all of it."""
    from mshare_bench.real.guest.payload import loaded_files

    mechanisms(), workloads(), counters(), read_environment()
    workload = workloads()["region"].resolve(processes=2, region=_PROBE_BYTES)
    point = Point(workload, "shmem", "", X86_64.page, machines=read_topology())
    RealEngine().gather(Cell(point, engine="real"))  # what only a running cell imports
    # The agent is found by a digest of its sources, so these go along.
    sources = [Path(build.__file__).with_name(name) for name in build.SOURCES]
    return [*loaded_files(), *map(str, (agent_path(), *sources))]


def _main(arguments: list[str]) -> None:
    if arguments == ["--files"]:
        print(json.dumps(_load_all()))
        return
    descriptor = os.open(arguments[0], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor, termios.TCSANOW)
    with os.fdopen(descriptor, "rb") as requests, os.fdopen(os.dup(descriptor), "wb") as answers:
        serve(requests, answers)


if __name__ == "__main__":
    _main(sys.argv[1:])
