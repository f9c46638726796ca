"""Measures this machine's unit costs, checks them on a larger size, and writes them as a cost profile.

The probes come first, then the experiments in turn, again and again, so that what the machine does meanwhile meets all of them
alike: until every figure is narrow enough, or the budget is spent. Half of the passes against the other half says how quiet
the machine is.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.calibration.experiments import EXPERIMENTS, Experiment, larger, work_rows
from mshare_bench.calibration.fit import Fit, Row, fit
from mshare_bench.calibration.observe import Observed, figure, observe
from mshare_bench.calibration.probes import PROBES, summary
from mshare_bench.domain.cost import CostModel, UnitCost
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.real.environment import machine_digest, read_environment
from mshare_bench.results.files import atomic
from mshare_bench.sim.time import prices_of, time_of

__all__ = ["Calibration", "Check", "calibrate", "write_profile"]

QUIET = 0.03
"""Machines whose A/A runs differ by less are quiet."""
WIDEST = 0.5
"""On a machine that is not, a cost whose interval reaches further than this share of it is null."""
_NARROW = 0.03
_MINIMUM_PASSES = 2
_CHECKS_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Check:
    """A larger size, predicted before it was measured; nanoseconds per process."""

    label: str
    phase: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came out.

    Attributes
    ----------
    model
        The profile.
    checks
        Larger sizes, predicted and measured.
    drift
        By how much A/A runs differ: the median over all figures of one half of the passes over the other, less one.
    quiet
        Whether that is below `QUIET`.
    passes
        How often every experiment ran.
    rows, residuals
        What was fitted, and fitted time over measured time less one.
    lacking
        Why a probe or an experiment gave nothing, by its name.
    """

    model: CostModel
    checks: tuple[Check, ...]
    drift: float
    quiet: bool
    passes: int
    rows: tuple[Row, ...]
    residuals: tuple[float, ...]
    lacking: Mapping[str, str] = field(default_factory=dict)

    def costs(self) -> list[dict[str, Any]]:
        """Every unit cost as a row: `name`, `value`, `low`, `high`, `unit`, `source`, `description`; null where not known."""
        rows = []
        for name, kind in UNIT_COSTS.items():
            one = self.model.costs.get(name)
            ends = (None, None, None, None) if one is None else (one.value, one.low, one.high, one.source)
            value, low, high, source = ends
            rows.append(
                {"name": name, "value": value, "low": low, "high": high, "unit": kind.unit, "source": source,
                 "description": kind.description}
            )  # fmt: skip
        return rows


def calibrate(
    budget_s: float = 90.0,
    name: str = "here",
    note: Callable[[str], None] = lambda _: None,
    experiments: Sequence[Experiment] = EXPERIMENTS,
    checks: Sequence[Experiment] | None = None,
) -> Calibration:
    """Measure every unit cost that this machine can show.

    Parameters
    ----------
    budget_s
        Seconds that it may take, about; at least two passes are made.
    name
        Of the profile.
    note
        Is told how it goes on.
    experiments, checks
        What is fitted, and what is predicted and then measured.

    Raises
    ------
    CapabilityError
        When nothing at all can be measured here.
    """
    if budget_s <= 0:
        raise ConfigError(f"budget={budget_s}: must be positive")
    if not name.isidentifier():
        raise ConfigError(f"name={name}: becomes part of a file's name; use letters, digits and _")
    deadline = time.monotonic() + budget_s * (1 - _CHECKS_SHARE)
    lacking: dict[str, str] = {}
    probed: dict[str, UnitCost] = {}
    for probe in PROBES:
        note(f"probing {', '.join(probe.costs)}")
        try:
            for cost, samples in probe.run().items():
                probed[cost] = _unit_cost(cost, summary(samples), f"measured: {probe.how}")
        except (CapabilityError, CellFailed) as error:
            lacking[", ".join(probe.costs)] = str(error)
    seen: dict[str, list[Observed]] = {}
    passes = 0
    while passes < _MINIMUM_PASSES or (time.monotonic() < deadline and not _narrow(seen)):
        for experiment in experiments:
            if passes >= _MINIMUM_PASSES and time.monotonic() > deadline:
                break
            try:
                found = observe(experiment.point, experiment.rounds, skip_first=work_rows(experiment)[2])
                seen.setdefault(experiment.name, []).append(found)
                lacking.pop(experiment.name, None)
            except (CapabilityError, CellFailed) as error:
                if experiment.name not in seen:
                    lacking[experiment.name] = str(error)
        passes += 1
        note(f"pass {passes}: {len(seen)} of {len(experiments)} experiments")
    rows = _rows(experiments, seen)
    known = {cost: one.value for cost, one in probed.items()}
    if not rows or "timer" not in known:
        raise CapabilityError("nothing can be measured here: " + "; ".join(sorted(set(lacking.values()))))
    found_fit = fit(rows, known)
    drift = _drift(seen)
    model = _model(name, probed, found_fit, drift < QUIET, _environment(drift, passes, seen))
    done = _check(larger() if checks is None else checks, model, lacking, note)
    return Calibration(model, done, drift, drift < QUIET, passes, tuple(rows), found_fit.residuals, lacking)


def write_profile(model: CostModel, folder: Path) -> Path:
    """Write a profile as YAML, whole or not at all; returns where it is."""
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(model.values(), sort_keys=False, allow_unicode=True, width=120)
    path = folder / f"{model.name}.yaml"
    with atomic(path) as file:
        file.write(f"# Measured by mshare-bench calibrate; times are this machine's.\n{text}".encode())
    return path


def _unit_cost(cost: str, ends: tuple[float, float, float], how: str) -> UnitCost:
    return UnitCost(*ends, UNIT_COSTS[cost].unit, how, "calibrated")


def _rows(experiments: Sequence[Experiment], seen: Mapping[str, Sequence[Observed]]) -> list[Row]:
    rows = []
    for experiment in experiments:
        if experiment.name not in seen:
            continue
        works, processes, _ = work_rows(experiment)
        for phase, work in works.items():
            parts = [one.samples[phase] for one in seen[experiment.name] if phase in one.samples]
            if not parts:
                continue
            whole = figure(np.concatenate(parts))
            each = np.array([figure(part) for part in parts])
            rows.append(Row(experiment.name, phase, work, processes, whole, _scatter(each) / whole))
    return rows


def _scatter(figures: NDArray[np.float64]) -> float:
    """Standard error of figures of several passes; from their lower half, which is what the figure is taken of."""
    if len(figures) < 2:
        return 0.5 * float(figures[0])
    if len(figures) < 4:
        return float(figures.std(ddof=1) / np.sqrt(len(figures)))
    low, high = (float(one) for one in np.quantile(figures, (0.0, 0.5)))
    return max((high - low) / float(np.sqrt(len(figures))), 0.01 * low)


def _narrow(seen: Mapping[str, Sequence[Observed]]) -> bool:
    """Whether every figure's 95 % interval is within a few per cent of it."""
    for observed in seen.values():
        for phase in observed[0].samples:
            each = np.array([figure(one.samples[phase]) for one in observed])
            if len(each) < 4 or 2 * _scatter(each) > _NARROW * each.mean():
                return False
    return bool(seen)


def _drift(seen: Mapping[str, Sequence[Observed]]) -> float:
    """How far A/A runs lie apart: passes with even numbers against those with odd ones, the median over all figures."""
    apart = []
    for observed in seen.values():
        for phase in observed[0].samples:
            halves = [[one.samples[phase] for one in observed[start::2]] for start in (0, 1)]
            if all(halves):
                first, second = (figure(np.concatenate(half)) for half in halves)
                apart.append(abs(first / second - 1) if second else 0.0)
    return float(np.median(apart)) if apart else float("inf")


def _environment(drift: float, passes: int, seen: Mapping[str, Sequence[Observed]]) -> dict[str, Any]:
    facts = {key: value for key, value in read_environment().items() if value is not None}
    preferred = all(one.preferred for observed in seen.values() for one in observed)
    return {**facts, "passes": passes, "drift": round(drift, 4), "scheduling": "nice -20" if preferred else "nice 0"}


def _model(
    name: str, probed: Mapping[str, UnitCost], found: Fit, quiet: bool, environment: Mapping[str, Any]
) -> CostModel:
    costs: dict[str, UnitCost | None] = dict(probed)
    for cost, ends in found.costs.items():
        costs[cost] = _unit_cost(cost, ends, "measured: fitted to runs of the agent at several sizes")
    costs |= _derived(costs)
    if not quiet:
        for cost, one in costs.items():
            # The caches' size, and what a page takes more beyond it, which may be nothing at all, bend the others' sums and are
            # no times by themselves: they are kept with their intervals.
            if (
                one is not None
                and not cost.startswith("cache_")
                and not cost.endswith(("_far", "_beyond"))
                and _wide(one)
            ):
                costs[cost] = None
    for cost in UNIT_COSTS:
        costs.setdefault(cost, None)
    return CostModel(
        name, machine_digest(), {cost: costs[cost] for cost in UNIT_COSTS}, "calibrated", "this machine", environment
    )


def _derived(costs: Mapping[str, UnitCost | None]) -> dict[str, UnitCost]:
    """Costs of what no released kernel does, from those of its parts.

    An entry of the child is written as part of a page of 512, which clearing a page shows; what copying an entry takes beside
    that is reading it, and taking the page up into counters and references. Sharing a table at fork takes what linking a
    hugetlb PMD page takes beyond an ordinary fault there.
    """
    made = {}
    zero, copy, link, plain = (costs.get(name) for name in ("frame_zero", "pte_copy", "fault_link", "fault_hugetlb"))
    if zero is not None:
        ends = (zero.value / 512, zero.low / 512, zero.high / 512)
        made["pte_store"] = _unit_cost("pte_store", ends, "derived: frame_zero / 512")
        if copy is not None:
            low, high = max(0.0, copy.low - ends[2]), copy.high - ends[1]
            value = max(0.0, copy.value - ends[0])
            made["rss_account"] = _unit_cost("rss_account", (value, low, high), "derived: pte_copy - pte_store")
    if link is not None and plain is not None:
        value = max(0.0, link.value - plain.value)
        low, high = max(0.0, link.low - plain.high), max(0.0, link.high - plain.low)
        made["table_share"] = _unit_cost("table_share", (value, low, high), "derived: fault_link - fault_hugetlb")
    return made


def _wide(one: UnitCost) -> bool:
    return max(one.high - one.value, one.value - one.low) > WIDEST * one.value


def _check(
    experiments: Sequence[Experiment], model: CostModel, lacking: dict[str, str], note: Callable[[str], None]
) -> tuple[Check, ...]:
    checks = []
    prices = prices_of(model)
    for experiment in experiments:
        works, processes, skip = work_rows(experiment)
        predicted = {phase: time_of(work, prices, processes) for phase, work in works.items()}
        note(f"predicted, now measured: {experiment.name}")
        try:
            observed = observe(experiment.point, experiment.rounds, skip_first=skip)
        except (CapabilityError, CellFailed) as error:
            lacking[experiment.name] = str(error)
            continue
        for phase, expected in predicted.items():
            if expected is not None and phase in observed.samples:
                checks.append(Check(experiment.name, phase, expected.value, figure(observed.samples[phase])))
    return tuple(checks)
