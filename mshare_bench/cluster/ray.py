"""The Ray executor: batches sized by what they are estimated to take stream to the workers and back."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from mshare_bench.cluster.batch import SIMULATED_BATCH, batches, failed, run_batch
from mshare_bench.cluster.estimate import serial_seconds
from mshare_bench.cluster.local_ray import REAL_RESOURCE, local_ray
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, Tables

__all__ = ["ClusterOptions", "RayExecutor"]

_BATCH_SECONDS = 1.0
_IN_FLIGHT_PER_CPU = 2
_ATTEMPTS = 3


class ClusterOptions(Protocol):
    """What an executor must know of the machines."""

    @property
    def address(self) -> str | None:
        """Address of a Ray cluster; None for this machine alone."""

    @property
    def silence_ns(self) -> int:
        """A machine that says nothing for so long is given up."""


@dataclass(frozen=True, slots=True)
class _Batch:
    engine: str
    cells: tuple[Cell, ...]
    attempt: int = 1


class RayExecutor:
    """Runs cells through Ray.

    Simulated cells run on every CPU, real ones one at a time per machine. A batch whose worker dies is tried again, three times
    in all; then its cells are `failed` rows that say why.

    Parameters
    ----------
    options
        Which cluster.
    where
        Reads this machine's environment.
    """

    name = "ray"

    def __init__(self, options: ClusterOptions, where: Callable[[], Where]) -> None:
        self._options = options
        self._where = where
        self._started = ExitStack()

    def run(self, cells: Sequence[Cell], engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Run every cell; tables come back batch by batch as they are done."""
        ray = self._started.enter_context(local_ray())
        where = self._where()
        cpus = int(ray.cluster_resources().get("CPU", 1))
        held = {name: ray.put(engine) for name, engine in engines.items()}
        run = ray.remote(_remote_batch)
        waiting = deque(_Batch(engine, batch) for engine, batch in batches(cells, _batch_size(cells, engines, cpus)))
        flying: dict[Any, _Batch] = {}
        while waiting or flying:
            while waiting and len(flying) < cpus * _IN_FLIGHT_PER_CPU:
                batch = waiting.popleft()
                resources = {} if batch.engine == "sim" else {REAL_RESOURCE: 1}
                task = run.options(num_cpus=1, resources=resources, max_retries=0)
                flying[task.remote(batch.cells, held[batch.engine], where)] = batch
            done, _ = ray.wait(list(flying), num_returns=1)
            for reference in done:
                batch = flying.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    again = self._again(batch, error, waiting)
                    if again is not None:
                        yield again

    def close(self) -> None:
        """Put Ray away."""
        self._started.close()

    def _again(self, batch: _Batch, error: Exception, waiting: "deque[_Batch]") -> Tables | None:
        """Queue a batch whose worker died once more, in halves, so that a cell that kills its worker ends up alone."""
        if batch.attempt >= _ATTEMPTS and len(batch.cells) == 1:
            reason = str(error).strip().splitlines()[0]
            return failed(batch.cells, f"{type(error).__name__}: {reason}", self._where())
        half = max(1, len(batch.cells) // 2)
        parts = (batch.cells[:half], batch.cells[half:])
        waiting.extendleft(_Batch(batch.engine, part, batch.attempt + 1) for part in reversed(parts) if part)
        return None


def _remote_batch(cells: tuple[Cell, ...], engine: Engine, where: Where) -> Tables:
    return run_batch(cells, engine, where)


def _batch_size(cells: Sequence[Cell], engines: Mapping[str, Engine], cpus: int) -> int:
    simulated = sum(cell.engine == "sim" for cell in cells)
    seconds = serial_seconds(cells, engines)
    wanted = simulated * _BATCH_SECONDS / seconds if seconds else SIMULATED_BATCH
    # At least four batches for every CPU, so that the last one does not keep the others waiting.
    return max(1, min(math.ceil(wanted), math.ceil(simulated / (4 * cpus)), SIMULATED_BATCH))
