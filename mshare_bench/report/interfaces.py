"""Where one user-space interface of mshare beats another: the combinations at which each has the least of what costs.

Rows of one `baseline_point` that differ in `interface=` only are held against one another; what is reported is how often each has
the least, and how far the others are from it at most.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.results.columns import codes, holds, indices, numbers

__all__ = ["Contest", "Standing", "compare_interfaces", "interface_lines", "interface_sentence"]

_DEFAULT = "msharefs"
_ORDER = (_DEFAULT, "flag", "ideal")
_COLUMNS = (
    "baseline_point", "mechanism", "variant", "engine", "status", "repeat", "processes", "region_bytes", "page_table_bytes",
    "minor_faults", "linking_faults", "tlb_flushes", "address_space_bytes",
)  # fmt: skip
_MECHANISM = "mshare"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one interface does: at how many combinations it has the least, and how far it is from the least at worst.

    Attributes
    ----------
    least
        Combinations at which no other has less; several may share a place.
    excess
        The most that it has more than the least, in the quantity's unit; 0 where it always has the least.
    factor
        How many times the least it then has; None where the least is 0.
    processes, region_bytes
        Where that is.
    """

    least: int
    excess: float = 0.0
    factor: float | None = None
    processes: int = 0
    region_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Contest:
    """One quantity over all combinations: `standings` by interface."""

    quantity: str
    combinations: int
    standings: Mapping[str, Standing]


def compare_interfaces(cells: pa.Table) -> list[Contest]:
    """Hold the interfaces against one another; nothing where fewer than two meet at a combination."""
    if not set(_COLUMNS) <= set(cells.column_names):
        return []
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    told = {"mechanism": _MECHANISM, "status": "ok", "engine": "sim"}
    wanted = functools.reduce(operator.and_, (holds(cells, name, value) for name, value in told.items()))
    rows = cells.select(list(_COLUMNS)).take(indices(np.flatnonzero(wanted & (numbers(cells["repeat"]) == 0))))
    for row in rows.to_pylist() if len(np.unique(codes(rows["variant"])[0])) > 1 else ():
        options = dict(pair.split("=", 1) for pair in (row["variant"] or "").split(";") if pair)
        interface = options.pop("interface", _DEFAULT)
        groups.setdefault((row["baseline_point"], str(sorted(options.items()))), {})[interface] = row
    met = [group for group in groups.values() if len(group) > 1]
    return [contest for quantity in _QUANTITIES if (contest := _contest(quantity, met)) is not None]


def _faults(row: Mapping[str, Any]) -> int | None:
    return None if row["minor_faults"] is None else row["minor_faults"] + (row["linking_faults"] or 0)


def _unused(row: Mapping[str, Any]) -> int | None:
    space = row["address_space_bytes"]
    return None if space is None else space - row["region_bytes"]


_QUANTITIES: dict[str, tuple[Callable[[Mapping[str, Any]], int | None], Callable[[float | None], str]]] = {
    "page tables": (lambda row: row["page_table_bytes"], words.size),
    "faults": (_faults, words.count),
    "TLB flushes": (lambda row: row["tlb_flushes"], words.count),
    "unused space": (_unused, words.size),
}
"""What is compared: how to read it from a row, and how to write it. Faults are those that link too; the space is per process."""


def _contest(quantity: str, met: Sequence[Mapping[str, Mapping[str, Any]]]) -> Contest | None:
    read, _ = _QUANTITIES[quantity]
    standings: dict[str, Standing] = {}
    combinations = 0
    for group in met:
        figures = {name: read(row) for name, row in group.items()}
        known = {name: figure for name, figure in figures.items() if figure is not None}
        if len(known) < 2:
            continue
        combinations += 1
        least = min(known.values())
        for name, figure in known.items():
            old = standings.get(name, Standing(0))
            if figure == least:
                standings[name] = Standing(old.least + 1, old.excess, old.factor, old.processes, old.region_bytes)
            elif figure - least > old.excess:
                row = group[name]
                factor = figure / least if least else None
                standings[name] = Standing(old.least, figure - least, factor, row["processes"], row["region_bytes"])
    ordered = {name: standings[name] for name in (*_ORDER, *sorted(set(standings) - set(_ORDER))) if name in standings}
    return Contest(quantity, combinations, ordered) if combinations else None


def interface_lines(contests: Sequence[Contest]) -> list[str]:
    """One line for each quantity and interface, of 76 characters where figures are not out of the ordinary."""
    lines = [f"{'':<14}{'':<10}{'least':<10}at most"]
    for contest in contests:
        show = _QUANTITIES[contest.quantity][1]
        for number, (name, one) in enumerate(contest.standings.items()):
            times = "" if one.factor is None else f", {one.factor:,.0f}×"
            where = f"{words.count(one.processes)} × {words.size(one.region_bytes)}"
            excess = f"{show(one.excess)} more{times} ({where})" if one.excess else "the least everywhere"
            share = f"{one.least} of {contest.combinations}"
            lines.append(f"{contest.quantity if not number else '':<14}{name:<10}{share:<10}{excess}")
    if any(contest.quantity == "TLB flushes" and _DEFAULT in contest.standings for contest in contests):
        lines.append("msharefs refuses mprotect of a window and so is spared its flush.")
    return lines


def interface_sentence(contests: Sequence[Contest]) -> str:
    """Where one beats the other, in a sentence; empty without a contest."""
    by_winner: dict[str, list[str]] = {}
    for contest in contests:
        posted = {name: one.least for name, one in contest.standings.items() if name != "ideal"}
        best = [name for name, least in posted.items() if least == max(posted.values())]
        winner = best[0] if len(best) == 1 else ""
        by_winner.setdefault(winner, []).append(
            f"{contest.quantity} (at {max(posted.values())} of {contest.combinations})"
        )
    parts = [f"{name} has the least {' and '.join(found)}" for name, found in by_winner.items() if name]
    if "" in by_winner:
        parts.append(f"neither is ahead in {' and '.join(by_winner[''])}")
    return f"Of the interfaces, {'; '.join(parts)}." if parts else ""
