"""What a plan would do: which cells are done, why each other one would run, and what it takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Estimate, Estimator
from mshare_bench.sweep.plan import Plan

__all__ = ["Prospect", "Stored", "outlook", "rows_of"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store has.

    Attributes
    ----------
    statuses
        By cell digest and repeat.
    cells
        Cell digests by point digest and engine: those of the same point under other models, machines or costs.
    """

    statuses: Mapping[tuple[str, int], str] = field(default_factory=dict)
    cells: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prospect:
    """One cell of a plan.

    Attributes
    ----------
    cell
        What it is.
    state
        `done`, `runs` or `skipped`.
    why
        Why it runs or is skipped.
    estimate
        What it takes; None for what does not run.
    """

    cell: Cell
    state: str
    why: str
    estimate: Estimate | None = None


def outlook(plan: Plan, estimators: Mapping[str, Estimator], stored: Stored | None = None) -> Iterator[Prospect]:
    """Look at every cell of the plan, in its order; those that can't run come last."""
    have = stored or Stored()
    for cell in plan.cells:
        key = cell.digest, cell.repeat
        status = have.statuses.get(key)
        if status == "ok":
            yield Prospect(cell, "done", "")
            continue
        others = have.cells.get((cell.point.digest, cell.engine), frozenset()) - {key[0]}
        estimator = estimators.get(cell.engine)
        yield Prospect(cell, "runs", _why(status, cell, others), estimator.estimate(cell) if estimator else None)
    for one in plan.refusals:
        yield Prospect(one.cell, "skipped", one.reason)


def rows_of(prospects: Iterable[Prospect]) -> list[dict[str, Any]]:
    """The same as plain values: what reports print."""
    rows = []
    for one in prospects:
        point, estimate = one.cell.point, one.estimate
        rows.append(
            {
                "cell": one.cell.digest,
                "point": point.digest,
                "repeat": one.cell.repeat,
                "workload": point.workload.name,
                "mechanism": point.mechanism,
                "variant": point.variant,
                "engine": one.cell.engine,
                "processes": point.workload.processes,
                "region_bytes": point.workload.region_bytes,
                "page_table_bytes": estimate.page_tables if estimate else None,
                "memory_bytes": estimate.memory if estimate else None,
                "seconds": estimate.seconds if estimate else None,
                "state": one.state,
                "why": one.why or None,
            }
        )
    return rows


def _why(status: str | None, cell: Cell, others: frozenset[str]) -> str:
    if status is not None:
        return f"was {status}"
    if others:
        what = "models or machine" if cell.engine == "real" else "models or cost profile"
        return f"stored under other {what}"
    return "repeat" if cell.repeat else "new"
