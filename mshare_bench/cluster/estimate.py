"""What a plan takes, from a few of its cells."""

from collections.abc import Mapping

from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Engine

__all__ = ["serial_seconds"]

_PROBES = 16


def serial_seconds(cells: Cells, engines: Mapping[str, Engine]) -> float:
    """Estimate what simulating these cells one after the other takes; 0 where the engine estimates nothing."""
    estimate = getattr(engines.get("sim"), "estimate", None)
    simulated = cells.take(cells.whose(runner=lambda one: one.engine == "sim"))
    if estimate is None or not simulated:
        return 0.0
    probes = simulated[:: max(1, len(simulated) // _PROBES)]
    return float(sum(estimate(cell).seconds for cell in probes)) / len(probes) * len(simulated)
