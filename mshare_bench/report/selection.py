"""What the figures show: of all cells those that make one clear picture, as plain values."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from mshare_bench.report.pairs import costliest
from mshare_bench.results.columns import codes, indices, numbers

__all__ = [
    "BreakEven",
    "Grid",
    "Line",
    "Panel",
    "attach_and_touch",
    "break_even",
    "page_tables",
    "panels",
    "savings_grids",
]

_OTHERS = (
    "workload_params", "offset_bytes", "access", "access_params", "write_fraction", "populate", "topology", "placement",
    "machine", "host", "cost", "mmu",
)  # fmt: skip
_WANTED = (
    "workload", "mechanism", "variant", "engine", "processes", "region_bytes", "page_bytes", "status", "page_table_bytes",
    "page_table_saved_bytes", "attach_ns", "touch_ns", *_OTHERS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """Values of one mechanism over the x axis; `points` is sorted by x."""

    label: str
    mechanism: str
    engine: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: `x` is `processes` or `region_bytes`."""

    title: str
    x: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Savings of one mechanism: `saved[i][j]` bytes, and their `share`, at `regions[i]` and `processes[j]`; None: unknown."""

    label: str
    processes: tuple[int, ...]
    regions: tuple[int, ...]
    saved: tuple[tuple[float | None, ...], ...]
    share: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many processes on one mechanism beats another.

    Attributes
    ----------
    winner, loser
        Labels.
    measure
        `page tables` or `time` (attaching and touching, per process).
    region_bytes
        Size at which.
    processes
        The smallest number of processes swept from which on the winner is ahead; None where it never is.
    swept
        The smallest and largest number of processes that both have.
    """

    winner: str
    loser: str
    measure: str
    region_bytes: int
    processes: int | None
    swept: tuple[int, int]


def page_tables(row: Mapping[str, Any]) -> float | None:
    """Bytes of page tables of a row."""
    value = row["page_table_bytes"]
    return None if value is None else float(value)


def attach_and_touch(row: Mapping[str, Any]) -> float | None:
    """Nanoseconds that a process takes to attach and to touch."""
    return None if None in (row["attach_ns"], row["touch_ns"]) else float(row["attach_ns"] + row["touch_ns"])


def panels(
    cells: pa.Table, most: int = 3, value: Callable[[Mapping[str, Any]], float | None] = page_tables
) -> list[Panel]:
    """Charts of a value: over processes at up to three sizes (or workloads), or over size where only that was swept."""
    scene = costliest(cells)
    if scene is None:
        return []
    rows = _rows(cells, lambda row: value(row) is not None)
    if not rows:
        return []
    if _distinct(rows, "processes") > 1:
        rows = _sizes_joined(rows)
    workloads = sorted({row["workload"] for row in rows})
    at: list[tuple[str, Mapping[str, Any]]]
    x, other = ("processes", "region_bytes") if _distinct(rows, "processes") > 1 else ("region_bytes", "processes")
    if _distinct(rows, x) < 2:
        x, other = "processes", "region_bytes"
    if len(workloads) > 1:
        most = max(most, 4)
        cost = {name: max(value(row) or 0 for row in rows if row["workload"] == name) for name in workloads}
        workloads.sort(key=lambda name: (-cost[name], name))
        at = [
            (name, {"workload": name, other: max(row[other] for row in rows if row["workload"] == name)})
            for name in workloads
        ]
    else:
        values = _spread(sorted({row[other] for row in rows}), most)
        measured = Counter(row[other] for row in rows if row["engine"] == "real")
        if measured and not set(values) & set(measured) and len(values) > 1:  # show where the prediction was checked
            values = sorted({values[0], max(measured, key=lambda value: measured[value]), values[-1]})
        at = [("", {other: value}) for value in values]
    made = []
    for name, fixed in at[:most]:
        chosen = _unique([row for row in rows if all(row[key] == value for key, value in fixed.items())], x)
        lines = _lines(chosen, x, value)
        title = " · ".join(part for part in (name, _said(other, fixed[other])) if part)
        if lines:
            made.append(Panel(title, x, lines))
    return made


def savings_grids(cells: pa.Table, most: int = 4) -> list[Grid]:
    """Grids of savings over processes and size: of `mshare` first, then of what saves most; none where either was not swept."""
    rows = _main(cells, lambda row: row["page_table_saved_bytes"] is not None and row["mechanism"] != "shmem")
    engine = "sim" if any(row["engine"] == "sim" for row in rows) else "real"
    rows = [row for row in rows if row["engine"] == engine]
    if _distinct(rows, "processes") < 2 or _distinct(rows, "region_bytes") < 2:
        return []
    rows = _unique(rows, "processes", "region_bytes")
    processes = tuple(sorted({row["processes"] for row in rows}))
    regions = tuple(sorted({row["region_bytes"] for row in rows}))
    found: dict[str, dict[tuple[int, int], tuple[float, float]]] = {}
    for row in rows:
        saved, left = row["page_table_saved_bytes"], row["page_table_bytes"]
        share = saved / (saved + left) if saved + left > 0 else 0.0
        found.setdefault(row["label"], {})[row["region_bytes"], row["processes"]] = (saved, share)
    order = sorted(
        found, key=lambda name: (not name.startswith("mshare"), -sum(one for one, _ in found[name].values()))
    )

    def grid(label: str, index: int) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(_part(found[label].get((region, one)), index) for one in processes) for region in regions)

    return [Grid(label, processes, regions, grid(label, 0), grid(label, 1)) for label in order[:most]]


def break_even(cells: pa.Table, winner: str = "mshare") -> list[BreakEven]:
    """From how many processes on `winner` beats each other mechanism, by size; only where three counts or more were swept."""
    rows = _main(cells, lambda row: row["engine"] == "sim" and row["mechanism"] != "shared_mm")
    rows = _unique(rows, "processes", "region_bytes")
    measures = {"page tables": page_tables, "time": attach_and_touch}
    made = []
    for region in sorted({row["region_bytes"] for row in rows}):
        here = [row for row in rows if row["region_bytes"] == region]
        for measure, value in measures.items():
            lines = {line.label: dict(line.points) for line in _lines(here, "processes", value)}
            if winner not in lines:
                continue
            for label, points in sorted(lines.items()):
                both = sorted(set(points) & set(lines[winner]))
                if label == winner or len(both) < 3:
                    continue
                ahead = [lines[winner][one] < points[one] for one in both]
                since = len(ahead) - next((i for i, one in enumerate(reversed(ahead)) if not one), len(ahead))
                first = int(both[since]) if since < len(both) else None
                made.append(BreakEven(winner, label, measure, region, first, (int(both[0]), int(both[-1]))))
    return made


def _sizes_joined(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take sizes within 2 % as one: some workloads round their regions to a whole page for each process."""
    joined: dict[tuple[str, int], int] = {}
    for workload in {row["workload"] for row in rows}:
        first = 0
        for size in sorted({row["region_bytes"] for row in rows if row["workload"] == workload}):
            first = size if size > 1.02 * first else first
            joined[workload, size] = first
    return [row | {"region_bytes": joined[row["workload"], row["region_bytes"]]} for row in rows]


def _part(pair: tuple[float, float] | None, index: int) -> float | None:
    return None if pair is None else pair[index]


def _rows(cells: pa.Table, keep: Callable[[Mapping[str, Any]], bool], most: int = 40_000) -> list[dict[str, Any]]:
    """The `ok` rows as values with their labels, repeats put together; a sweep beyond `most` rows is thinned along its sizes."""
    if cells.num_rows > most:
        sizes = np.unique(numbers(cells["region_bytes"]))
        kept = _spread(sizes.tolist(), max(2, len(sizes) * most // cells.num_rows))
        cells = cells.take(indices(np.flatnonzero(np.isin(numbers(cells["region_bytes"]), kept))))
    rows = [row for row in cells.select(list(_WANTED)).to_pylist() if row["status"] == "ok" and keep(row)]
    pages: dict[tuple[str, str], set[int]] = {}
    for mechanism, variant, page in {_details(row) for row in rows}:
        pages.setdefault((mechanism, variant), set()).add(page)
    labels = {
        (mechanism, variant, page): " ".join(
            part for part in (mechanism, variant, f"page={page >> 10}KiB" if len(own) > 1 else "") if part
        )
        for (mechanism, variant), own in pages.items()
        for page in own
    }
    coordinates = itemgetter(
        *(
            name
            for name in _WANTED
            if name not in ("page_table_bytes", "page_table_saved_bytes", "attach_ns", "touch_ns")
        )
    )
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        row["label"] = labels[_details(row)]
        groups.setdefault(coordinates(row), []).append(row)
    return [_together(group) for group in groups.values()]


def _details(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["mechanism"], row["variant"] or "", row["page_bytes"]


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    if len(rows) == 1:
        return rows[0]
    merged = dict(rows[0])
    for name in ("page_table_bytes", "page_table_saved_bytes", "attach_ns", "touch_ns"):
        values = [row[name] for row in rows if row[name] is not None]
        merged[name] = statistics.median(values) if values else None
    return merged


def _main(cells: pa.Table, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """Rows of the workload whose tables cost most."""
    scene = costliest(cells)
    if scene is None:
        return []
    workload, names = codes(cells["workload"])
    wanted = scene.coordinates["workload"]
    return _rows(cells.take(indices(np.flatnonzero(workload == names.index(wanted)))), keep)


def _unique(rows: Sequence[dict[str, Any]], *axes: str) -> list[dict[str, Any]]:
    """Rows with one value of a label and engine at each place of the axes: of the other coordinates those that most rows have."""
    kept = list(rows)
    for name in _OTHERS:
        if len({(row["label"], row["engine"], *(row[axis] for axis in axes)) for row in kept}) == len(kept):
            break
        for engine in {row["engine"] for row in kept}:
            counts = Counter(str(row[name]) for row in kept if row["engine"] == engine)
            most = max(sorted(counts), key=lambda value: counts[value])
            kept = [row for row in kept if row["engine"] != engine or str(row[name]) == most]
    return kept


def _lines(
    rows: Iterable[Mapping[str, Any]], x: str, value: Callable[[Mapping[str, Any]], float | None]
) -> tuple[Line, ...]:
    found: dict[tuple[str, str, str], dict[float, float]] = {}
    for row in rows:
        y = value(row)
        if y is not None:
            found.setdefault((row["label"], row["mechanism"], row["engine"]), {})[row[x]] = y
    return tuple(Line(*key, tuple(sorted(points.items()))) for key, points in sorted(found.items()))


def _distinct(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return len({row[name] for row in rows})


def _spread(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the values, evenly chosen, the ends among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [values[index] for index in chosen]


def _said(name: str, value: Any) -> str:
    from mshare_bench.report import words

    return words.size(value) if name == "region_bytes" else f"{words.count(value)} process{'es' if value != 1 else ''}"
