"""The check at full scale: learned on small sizes and few processes, predicted for 1 GiB and 500 processes, then measured.

Mechanisms that share their data run at that size; those that copy it for every process at as many processes as the memory guard
allows, which the label says.
"""

import functools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mshare_bench.calibration.calibrate import Check
from mshare_bench.calibration.experiments import Experiment
from mshare_bench.domain.units import GIB, format_size
from mshare_bench.real.guard import AGENT_BYTES, DEFAULT_RESERVE_BYTES, Need, largest_processes, read_host
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point

__all__ = ["MEDIAN_ERROR", "WORST_ERROR", "Verdict", "at_scale", "judge"]

MEDIAN_ERROR, WORST_ERROR = 0.10, 0.25
"""What predictions at full scale are held to, on a quiet machine."""

_PROCESSES = 500
_Keys: TypeAlias = Mapping[str, float]
_WRITES: _Keys = {"write_fraction": 1.0}
_SHARED: tuple[tuple[str, _Keys], ...] = (
    ("shmem", {}),
    ("shmem", _WRITES),
    ("sysv", {}),
    ("file", {}),
    ("thp", {}),
    ("hugetlb", {}),
    ("shared_mm", {}),
)
_COPIED: tuple[tuple[str, _Keys], ...] = (("anon_thp", {}), ("inherit", {"write_fraction": 0.5}), ("ksm", {}))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far predictions were off.

    Attributes
    ----------
    median, worst
        Of the relative errors, without their signs.
    """

    median: float
    worst: float

    @property
    def passed(self) -> bool:
        """Whether both are within what they are held to."""
        return self.median <= MEDIAN_ERROR and self.worst <= WORST_ERROR


def judge(checks: Sequence[Check]) -> Verdict | None:
    """Put the errors together; None without any."""
    errors = [abs(check.error) for check in checks]
    return Verdict(statistics.median(errors), max(errors)) if errors else None


def at_scale(
    region: int = GIB, processes: int = _PROCESSES, reserve: int = DEFAULT_RESERVE_BYTES
) -> Iterator[Experiment]:
    """Make the experiments; of mechanisms that copy their data with as many processes as fit into this machine's memory.

    Parameters
    ----------
    region
        Bytes.
    processes
        Of those that share their data, and at most of the others.
    reserve
        Bytes that must stay free.
    """
    for mechanism, keys in _SHARED:
        yield _experiment(mechanism, region, processes, keys)
    for mechanism, keys in _COPIED:
        fitting = largest_processes(functools.partial(_need, mechanism, region), read_host(), reserve, most=processes)
        if fitting > 1:  # the first process of an inherited region is the parent
            yield _experiment(mechanism, region, fitting, keys)


def _experiment(mechanism: str, region: int, processes: int, keys: _Keys) -> Experiment:
    what = {0.0: "read", 1.0: "write"}.get(keys.get("write_fraction", 0.0), "half written")
    label = f"{mechanism}, {what}, {format_size(region)} x {processes} processes"
    # One round, which counts although it is cold: of so much memory, what is cold at first is little.
    return Experiment(label, mechanism, region, processes, 0, keys=keys)


def _need(mechanism: str, region: int, processes: int) -> Need:
    """What a point needs where every process has a copy of all of it, as it has before any is merged."""
    found = account(make_point(mechanism, processes, region))
    return Need(processes, (processes + 1) * region, found.page_table_bytes, processes * AGENT_BYTES)
