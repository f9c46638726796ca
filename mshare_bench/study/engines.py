"""The engines that cells name, as far as this machine can start them, and what runs them."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Engine, Estimator, Executor
from mshare_bench.errors import CapabilityError

if TYPE_CHECKING:
    from mshare_bench.cluster.stamp import Where
    from mshare_bench.config.request import Request
    from mshare_bench.config.settings import Settings
    from mshare_bench.domain.cost import CostModel
    from mshare_bench.real.hosts import Hosts

__all__ = ["EstimatingEngine", "costs_of", "engines_of", "executor_for", "hosts_of", "model_of", "where_here"]


class EstimatingEngine(Engine, Estimator, Protocol):
    """An engine that says what its cells take: both of ours do."""


def engines_of(
    cells: Cells, request: "Request", costs: Mapping[str, "CostModel"]
) -> tuple[dict[str, "EstimatingEngine"], dict[str, str]]:
    """The engines that these cells name, and why this machine can't start the others."""
    names = {runner.engine for runner in cells.runners}
    engines: dict[str, EstimatingEngine] = {}
    lacking: dict[str, str] = {}
    if "sim" in names:
        from mshare_bench.sim.engine import SimEngine

        engines["sim"] = SimEngine(costs=costs)
    if "real" in names:
        try:
            engines["real"] = _real_engine(cells, request)
        except CapabilityError as error:
            lacking["real"] = str(error)
    return engines, lacking


def hosts_of(engines: Mapping[str, Engine]) -> "Hosts | None":
    """The real engine where it starts guests: these are prepared before the first cell, and end with the last."""
    if "real" not in engines:
        return None
    from mshare_bench.real.hosts import Hosts

    return engines["real"] if isinstance(engines["real"], Hosts) else None


def _real_engine(cells: Cells, request: "Request") -> "EstimatingEngine":
    from mshare_bench.real.engine import RealEngine, RealOptions

    real, guest = request.settings.real, request.settings.guest
    options = RealOptions(real.reserve_bytes, real.parallel, real.timeout_ns / 1e9, real.samples)
    here = RealEngine(options)
    guests = cells.take(cells.whose(runner=lambda one: one.host == "guest"))
    named = {cell.point.topology: cell.point.machines for cell in guests}
    if not named:
        return here
    from mshare_bench.real.guest.bed import find_bed
    from mshare_bench.real.guest.engine import GuestEngine
    from mshare_bench.real.guest.machine import guest_machine
    from mshare_bench.real.hosts import Hosts

    machines = {name: guest_machine(topology) for name, topology in named.items()}
    find = functools.partial(find_bed, guest.kernel, guest.files, guest.init)
    return Hosts(here, GuestEngine(machines, find, options))


def executor_for(
    settings: "Settings",
    cells: Cells,
    engines: Mapping[str, Engine],
    note: Callable[[str], None],
    kinds: Mapping[str, str],
) -> Executor:
    """Choose what runs cells: this process, or Ray."""
    from mshare_bench.cluster.choose import choose_executor

    return choose_executor(settings.executor, cells, engines, settings.cluster, where_here, note, kinds)


def model_of(engine: str) -> str:
    """Version of what an engine's results depend on; part of every cell's digest."""
    if engine == "application":
        from mshare_bench.real.applications import ApplicationEngine

        return ApplicationEngine.model
    if engine == "real":
        from mshare_bench.real.engine import RealEngine

        return RealEngine.model
    from mshare_bench.sim.engine import SimEngine

    return SimEngine.model


def costs_of(request: "Request", cells: Cells) -> dict[str, "CostModel"]:
    """The cost profiles that cells name."""
    from mshare_bench.config.costs import profiles

    return profiles({runner.cost for runner in cells.runners}, request.composer)


def where_here() -> "Where":
    """What this machine is, for the rows that are measured on it."""
    from mshare_bench.cluster.stamp import Where
    from mshare_bench.real.environment import machine_digest, read_environment
    from mshare_bench.real.sysfs import read_machine

    facts = read_environment()
    try:
        return Where(machine_digest(), facts, read_machine())
    except CapabilityError:  # a sysfs that tells too little costs the topology only
        return Where(machine_digest(), facts)
