"""What a plan takes, from a few of its cells."""

from collections.abc import Mapping, Sequence

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine

__all__ = ["serial_seconds"]

_PROBES = 16


def serial_seconds(cells: Sequence[Cell], engines: Mapping[str, Engine]) -> float:
    """Estimate what simulating these cells one after the other takes; 0 where the engine estimates nothing."""
    estimate = getattr(engines.get("sim"), "estimate", None)
    simulated = [cell for cell in cells if cell.engine == "sim"]
    if estimate is None or not simulated:
        return 0.0
    probes = simulated[:: max(1, len(simulated) // _PROBES)]
    return float(sum(estimate(cell).seconds for cell in probes)) / len(probes) * len(simulated)
