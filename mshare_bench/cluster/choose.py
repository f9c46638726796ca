"""Which executor runs a plan: `auto` takes Ray where it pays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mshare_bench.cluster.inline import InlineExecutor
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, Executor

__all__ = ["RAY_PAYS_SECONDS", "ClusterOptions", "choose_executor", "serial_seconds"]

RAY_PAYS_SECONDS = 10.0
"""Serial simulation beyond which starting Ray (3 to 7 s with its import) pays on two cores or more."""

_PROBES = 16


class ClusterOptions(Protocol):
    """What an executor must know of the machines."""

    @property
    def address(self) -> str | None:
        """Address of a Ray cluster; None for this machine alone."""

    @property
    def silence_ns(self) -> int:
        """A machine that says nothing for so long is given up."""


def choose_executor(
    asked: str,
    cells: Sequence[Cell],
    engines: Mapping[str, Engine],
    options: ClusterOptions,
    where: Callable[[], Where],
) -> Executor:
    """Make the executor that was asked for; `auto` is Ray with several machines or more than 10 s of serial simulation."""
    if asked == "auto":
        pays = options.address is not None or serial_seconds(cells, engines) > RAY_PAYS_SECONDS
        asked = "ray" if pays else "inline"
    if asked == "ray":
        from mshare_bench.cluster.ray import RayExecutor

        return RayExecutor(options, where)
    return InlineExecutor(where)


def serial_seconds(cells: Sequence[Cell], engines: Mapping[str, Engine]) -> float:
    """Estimate what simulating these cells one after the other takes, from a few of them."""
    engine = engines.get("sim")
    estimate = getattr(engine, "estimate", None)
    simulated = [cell for cell in cells if cell.engine == "sim"]
    if estimate is None or not simulated:
        return 0.0
    probes = simulated[:: max(1, len(simulated) // _PROBES)]
    return float(sum(estimate(cell).seconds for cell in probes)) / len(probes) * len(simulated)
