"""The Ray executor: batches sized by what they are estimated to take stream to the workers and back.

Simulated cells run on every CPU of the cluster. Real ones run on this machine, one at a time, in an actor of their own that
keeps the engine (and what it has measured of the machine) from cell to cell.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from mshare_bench.cluster.batch import SIMULATED_BATCH, batches, failed, run_batch
from mshare_bench.cluster.connect import joined_ray, local_ray
from mshare_bench.cluster.estimate import serial_seconds
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

    A batch whose worker dies is tried again, in halves, three times in all; then its cells are `failed` rows that say why.

    Parameters
    ----------
    options
        Which cluster.
    where
        Reads the environment of the machine that it is called on; must be importable there.
    """

    name = "ray"

    def __init__(self, options: ClusterOptions, where: Callable[[], Where]) -> None:
        self._options = options
        self._where = where
        self._started = ExitStack()

    def run(self, cells: Sequence[Cell], engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Run every cell; tables come back batch by batch as they are done.

        Raises
        ------
        CapabilityError
            When Ray does not start here.
        ConfigError
            When nothing answers at the cluster's address.
        """
        address = self._options.address
        ray = self._started.enter_context(local_ray() if address is None else joined_ray(address))
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        queues: dict[bool, deque[_Batch]] = {False: deque(), True: deque()}
        for engine, stretch in batches(cells, _batch_size(cells, engines, cpus)):
            queues[engine != "sim"].append(_Batch(engine, stretch))
        submit = _Submit(ray, engines, self._where, self._where() if address is None else None)
        flying: dict[Any, _Batch] = {}
        while flying or any(queues.values()):
            for real, queue in queues.items():
                most = 1 if real else cpus * _IN_FLIGHT_PER_CPU
                while queue and sum((one.engine != "sim") == real for one in flying.values()) < most:
                    batch = queue.popleft()
                    flying[submit(batch)] = batch
            done, _ = ray.wait(list(flying), num_returns=1)
            for reference in done:
                batch = flying.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    given_up = self._again(batch, error, queues[batch.engine != "sim"])
                    if given_up is not None:
                        yield given_up

    def close(self) -> None:
        """Put Ray away, or leave the cluster."""
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


class _Submit:
    """Hands batches to Ray: simulated ones to its workers, real ones to one actor on this machine."""

    def __init__(self, ray: Any, engines: Mapping[str, Engine], where: Callable[[], Where], here: Where | None) -> None:
        self._ray = ray
        self._engines = engines
        self._held = ray.put(engines["sim"]) if "sim" in engines else None
        # On this machine alone all workers share what was read once; elsewhere each machine reads its own.
        self._where = here or where
        self._task = ray.remote(_run).options(num_cpus=1, max_retries=0)
        self._actor: Any = None

    def __call__(self, batch: _Batch) -> Any:
        if batch.engine == "sim":
            return self._task.remote(batch.cells, self._held, self._where)
        if self._actor is None:
            self._actor = self._pinned()
        return self._actor.run.remote(batch.cells, self._where)

    def _pinned(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        actor = self._ray.remote(_RealRunner).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
        return actor.remote(self._engines["real"])


class _RealRunner:
    """Keeps the real engine on this machine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, cells: tuple[Cell, ...], where: Where | Callable[[], Where]) -> Tables:
        return _run(cells, self._engine, where)


def _run(cells: tuple[Cell, ...], engine: Engine, where: Where | Callable[[], Where]) -> Tables:
    return run_batch(cells, engine, where if isinstance(where, Where) else where())


def _batch_size(cells: Sequence[Cell], engines: Mapping[str, Engine], cpus: int) -> int:
    simulated = sum(cell.engine == "sim" for cell in cells)
    seconds = serial_seconds(cells, engines)
    wanted = simulated * _BATCH_SECONDS / seconds if seconds else SIMULATED_BATCH
    # At least four batches for every CPU, so that the last one does not keep the others waiting.
    return max(1, min(math.ceil(wanted), math.ceil(simulated / (4 * cpus)), SIMULATED_BATCH))
