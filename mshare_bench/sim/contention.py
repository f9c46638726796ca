"""What concurrent faulters cost each other: a closed queueing network, solved exactly by mean value analysis.

N processes on M CPUs fault, each one fault after the other. A fault is work of its own (`work_ns`), and visits to *stations*,
each of which serves one at a time: the cache line of a lock that all of them take, a lock that is held for a while. The mean
value analysis (Reiser and Lavenberg, 1980) gives throughput and waiting of such a network without approximation, in N steps; an
event simulation would add noise and nothing else, as long as nobody asks for the tail of the waiting times.

Work also slows down as more CPUs are busy, whatever the locks: the clock drops, caches and memory are shared. `drag` is that: by
how much of itself one busy CPU lengthens the work of each other one. It is there because the published scaling of 2 to 79
processes asks for it: a queue alone, fitted to the same three points, is 41 % too fast at 21 processes; with drag no point is
off by more than 18 % (`docs/validation.md`).

Which stations a fault visits follows from who shares what:

================  ==========================================================================================
address spaces    stations
================  ==========================================================================================
own               none of one's own: mmap lock, VMA lock and page-table locks are private
one               the VMA's lock, taken and given back: two transfers of its cache line (page-table locks are
                  split: processes that fault in different tables do not meet)
one, no VMA lock  the mmap lock in its place, the same two transfers
mshare            the guest's mmap lock is one's own; the host's is common: two transfers, no VMA lock there
================  ==========================================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import Level
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import Setting

__all__ = [
    "Crowd",
    "FaultRate",
    "Sharing",
    "Station",
    "concurrent_faults",
    "fit_crowd",
    "lock_wait",
    "mean_value_analysis",
    "predict_crowd",
    "sharing_of",
    "shootdown_ns",
    "stations_of",
]

Sharing = Literal["own", "one_mm", "one_mm_mmap_lock", "mshare"]
"""Who shares an address space, or its tables."""


@dataclass(frozen=True, slots=True)
class Station:
    """Something that serves one at a time, for so long per fault."""

    name: str
    demand_ns: float


@dataclass(frozen=True, slots=True)
class FaultRate:
    """What a crowd of faulters reaches.

    Attributes
    ----------
    per_second
        Faults per second, all together.
    fault_ns
        Time of one fault of one process, waiting included; that it waits for a CPU is not.
    lock_wait_ns
        Of that, waiting at stations.
    utilisation
        Share of the time for which each station is busy.
    """

    per_second: float
    fault_ns: float
    lock_wait_ns: float
    utilisation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Parameters that were fitted to a scaling series: work, drag, and one common station."""

    work_ns: float
    drag: float
    demand_ns: float
    fitted: tuple[int, ...]


def mean_value_analysis(
    population: int, think_ns: float, stations: Sequence[Station]
) -> tuple[float, dict[str, float]]:
    """Solve a closed network of so many customers exactly.

    Returns
    -------
    throughput, residence
        Visits per nanosecond, and the time that a visit takes at each station, waiting included.
    """
    queue = dict.fromkeys((station.name for station in stations), 0.0)
    residence: dict[str, float] = dict(queue)
    throughput = 0.0
    for count in range(1, population + 1):
        residence = {one.name: one.demand_ns * (1 + queue[one.name]) for one in stations}
        total = think_ns + sum(residence.values())
        throughput = count / total if total else float("inf")
        queue = {name: throughput * time for name, time in residence.items()}
    return throughput, residence


def stations_of(sharing: Sharing, lock_transfer_ns: float) -> tuple[Station, ...]:
    """Stations that a fault visits where more than one process faults; see the table of the module."""
    if sharing == "own":
        return ()
    name = {"one_mm": "vma_lock", "one_mm_mmap_lock": "mmap_lock", "mshare": "host_mmap_lock"}[sharing]
    return (Station(name, 2 * lock_transfer_ns),)


def concurrent_faults(
    processes: int, cpus: int, work_ns: float, stations: Sequence[Station] = (), drag: float = 0.0
) -> FaultRate:
    """Say how many faults so many processes take per second.

    Parameters
    ----------
    processes, cpus
        More processes than CPUs take turns: only as many as there are CPUs fault at a time.
    work_ns
        A fault alone, without what it takes of the stations.
    stations
        Visited by every fault, where there is more than one process.
    drag
        By how much of itself the work grows with each further busy CPU.

    Raises
    ------
    ConfigError
        For a count below 1 or a time below 0.
    """
    for key, number in (("processes", processes), ("cpus", cpus)):
        if number < 1:
            raise ConfigError(f"{key}={number}: must be at least 1")
    if work_ns < 0 or drag < 0 or any(one.demand_ns < 0 for one in stations):
        raise ConfigError(f"work_ns={work_ns}, drag={drag}: must not be negative")
    running = min(processes, cpus)
    met = tuple(stations) if running > 1 else ()
    work = work_ns * (1 + drag * (running - 1))
    throughput, residence = mean_value_analysis(running, work, met)
    waiting = sum(residence[one.name] - one.demand_ns for one in met)
    busy = {one.name: throughput * one.demand_ns for one in met}
    return FaultRate(throughput * 1e9, running / throughput, waiting, busy)


def fit_crowd(rates: Mapping[int, float], on: Sequence[int], cpus: int) -> Crowd:
    """Fit work, drag and one common station to points of a scaling series: exactly to three of them, where that can be done.

    Parameters
    ----------
    rates
        Faults per second by number of processes; only those of `on` are read.
    on
        Numbers of processes, at least three.
    cpus
        CPUs (hardware threads) of the machine.
    """
    import numpy as np
    from numpy.typing import NDArray
    from scipy.optimize import least_squares

    def crowd(logarithms: NDArray[np.float64]) -> Crowd:
        work, drag, demand = (float(one) for one in np.exp(logarithms))
        return Crowd(work, drag, demand, tuple(on))

    def apart(logarithms: NDArray[np.float64], /) -> NDArray[np.float64]:
        one = crowd(logarithms)
        return np.array([np.log(_rate(one, count, cpus) / rates[count]) for count in on])

    alone = min(on) / rates[min(on)] * 1e9
    starts = [(alone, drag, alone * share) for drag in (0.003, 0.03) for share in (0.01, 0.05)]
    fits = [least_squares(apart, np.log(start), bounds=(-25, 25)) for start in starts]
    return crowd(min(fits, key=lambda one: one.cost).x)


def predict_crowd(crowd: Crowd, counts: Sequence[int], cpus: int) -> dict[int, float]:
    """Faults per second of a fitted crowd, by number of processes."""
    return {count: _rate(crowd, count, cpus) for count in counts}


def _rate(crowd: Crowd, count: int, cpus: int) -> float:
    station = (Station("common", crowd.demand_ns),)
    return concurrent_faults(count, cpus, crowd.work_ns, station, crowd.drag).per_second


def sharing_of(setting: Setting) -> Sharing:
    """Who of a point shares an address space, or its tables."""
    if setting.traits.one_mm:
        return "one_mm"
    shared = any(Level.PUD in extent.shared for one in setting.mapped for extent in one.extents)
    return "mshare" if setting.traits.link and shared else "own"


def lock_wait(setting: Setting, processes: int, faults: int, touch_ns: float | None, costs: CostModel) -> float | None:
    """Say how long each process waits for the locks that faulters share while all touch, in ns.

    Parameters
    ----------
    setting
        The point, as `mshare_bench.sim.accounting.setting_of` prepares it.
    processes, faults
        How many processes there are, and the faults of all of them.
    touch_ns
        Time in which all processes together touch, without waiting; None where it is not known.
    costs
        A profile with `lock_transfer`, whose environment says how many `cpus` there are.

    Returns
    -------
    float or None
        None where a cost is missing, and where every process faults in an address space of its own: what these share (the locks
        of page-cache pages) is not modelled.
    """
    sharing = sharing_of(setting)
    transfer, cpus = costs.get("lock_transfer"), costs.environment.get("cpus")
    if sharing == "own" or transfer is None or cpus is None or touch_ns is None or not faults:
        return None
    rate = concurrent_faults(processes, int(cpus), touch_ns / faults, stations_of(sharing, transfer.value))
    return rate.lock_wait_ns * faults / processes


def shootdown_ns(cpus: int, ipi_ns: float, ipi_per_cpu_ns: float, flush_ns: float = 0.0) -> float:
    """Time of one shootdown that so many *other* CPUs must acknowledge; `flush_ns` is flushing here."""
    return flush_ns if cpus < 1 else flush_ns + ipi_ns + (cpus - 1) * ipi_per_cpu_ns
