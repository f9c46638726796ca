"""Predicted beside measured: rows of `cells` paired by `point`, repeats put together by their median."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mshare_bench.domain.units import format_size
from mshare_bench.results.columns import codes, holds, indices, known, numbers
from mshare_bench.results.savings import BASELINE

__all__ = [
    "Missing",
    "Pair",
    "Scene",
    "Side",
    "checked",
    "costliest",
    "missing",
    "scenes",
    "select",
    "without",
]

_SCENE = (
    "workload", "workload_params", "processes", "region_bytes", "offset_bytes", "access", "access_params", "write_fraction",
    "populate", "topology", "placement",
)  # fmt: skip
_FIGURES = (
    "page_table_bytes", "page_table_noise_bytes", "page_table_saved_bytes", "data_bytes", "metadata_bytes", "minor_faults",
    "linking_faults", "attach_ns", "touch_ns", "fork_ns", "protect_ns", "unmap_ns", "exit_ns",
)  # fmt: skip
_NEEDED = (
    "point", "baseline_point", "mechanism", "variant", "engine", "machine", "host", "cost", "page_bytes", "status", "basis",
    *_SCENE, *_FIGURES,
)  # fmt: skip


_ABOVE_NOISE = 20
"""A machine-wide counter says nothing of a difference that is not so many times its noise."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one engine says of a point: medians of its `ok` rows by column name, None where no row has a figure."""

    rows: int
    figures: Mapping[str, float | None]
    basis: str | None
    where: str | None

    def __getitem__(self, column: str) -> float | None:
        return self.figures[column]

    @property
    def extrapolated(self) -> bool:
        """Predicted far beyond what was measured."""
        return "extrapolated" in (self.basis or "")


@dataclass(frozen=True, slots=True)
class Pair:
    """One mechanism at one point: the prediction, the measurement, or both."""

    mechanism: str
    variant: str
    page_bytes: int
    predicted: Side | None
    measured: Side | None

    @property
    def ratio(self) -> float | None:
        """Measured page tables over predicted ones; None where either is missing, or lost in the counter's noise."""
        if self.predicted is None or self.measured is None:
            return None
        predicted, measured = self.predicted["page_table_bytes"], self.measured["page_table_bytes"]
        if (
            not predicted
            or measured is None
            or predicted < _ABOVE_NOISE * (self.measured["page_table_noise_bytes"] or 0)
        ):
            return None
        return measured / predicted

    @property
    def agrees(self) -> bool | None:
        """Whether the ratio is within 0.5 % or the counter's noise; None where there is no ratio."""
        if self.ratio is None or self.predicted is None or self.measured is None:
            return None
        predicted, measured = self.predicted["page_table_bytes"], self.measured["page_table_bytes"]
        assert predicted is not None
        assert measured is not None
        noise = self.measured["page_table_noise_bytes"] or 0
        return abs(measured - predicted) <= max(0.005 * predicted, noise)

    @property
    def best(self) -> Side:
        """The side to speak of: the measurement where there is one, else the prediction."""
        side = self.measured or self.predicted
        assert side is not None
        return side


@dataclass(frozen=True, slots=True)
class Scene:
    """What several mechanisms are compared at: everything but the mechanism. `coordinates` are columns of `cells`."""

    coordinates: Mapping[str, Any]
    pairs: tuple[Pair, ...]

    @property
    def processes(self) -> int:
        """Number of processes."""
        return int(self.coordinates["processes"])

    @property
    def region_bytes(self) -> int:
        """Bytes of all distinct regions."""
        return int(self.coordinates["region_bytes"])

    def label(self, pair: Pair) -> tuple[str, str]:
        """Name of a pair, and what tells it from its neighbours: its options, and its page or its machine where these differ."""
        alike = [one for one in self.pairs if (one.mechanism, one.variant) == (pair.mechanism, pair.variant)]
        details = pair.variant.split(";") if pair.variant else []
        if len({one.page_bytes for one in alike}) > 1:
            details.append(f"page={format_size(pair.page_bytes).replace(' ', '')}")
        alike = [one for one in alike if one.page_bytes == pair.page_bytes]
        for key, sides in (("cost", [one.predicted for one in alike]), ("host", [one.measured for one in alike])):
            own = pair.predicted if key == "cost" else pair.measured
            if own is not None and len({side.where for side in sides if side is not None}) > 1:
                details.append(f"{key}={own.where}")
        return pair.mechanism, ", ".join(details)


@dataclass(frozen=True, slots=True)
class Missing:
    """Cells without a result, put together by mechanism, engine, status and reason."""

    mechanism: str
    engine: str
    status: str
    reason: str
    cells: int


def select(cells: pa.Table, most: int) -> tuple[pa.Table, int]:
    """Thin a table out to about `most` pairs: whole scenes, those that were measured first, the others evenly over their order.

    Returns
    -------
    tuple
        The rows kept, and how many scenes were left out.
    """
    code, _ = codes(cells["baseline_point"])
    if not len(code):
        return cells, 0
    point, _ = codes(cells["point"])
    groups, first = np.unique(code, return_index=True)
    pairs = len(np.unique(point))
    if pairs <= most:
        return cells, 0
    workload, names = codes(cells["workload"])
    rank = np.argsort(np.argsort(np.array(names, str)))
    order = np.lexsort(
        (numbers(cells["region_bytes"])[first], numbers(cells["processes"])[first], rank[workload][first])
    )
    wanted = max(2, most * len(groups) // pairs)
    measured = np.isin(groups, code[holds(cells, "engine", "real") & holds(cells, "status", "ok")])[order]
    chosen = _evenly(np.flatnonzero(measured), wanted)
    rest = _evenly(np.flatnonzero(~measured), wanted - len(chosen))
    kept = groups[order[np.concatenate([chosen, rest])]]
    return cells.take(indices(np.flatnonzero(np.isin(code, kept)))), len(groups) - len(kept)


def _evenly(places: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """At most so many of the places, the ends among them."""
    if most <= 0 or not len(places):
        return places[:0]
    return np.asarray(places[np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))])


def scenes(cells: pa.Table) -> list[Scene]:
    """Pair the `ok` rows of a table up.

    A scene is one `baseline_point`; scenes come in order of workload, processes and size; in each, `shmem` is first and the
    others follow by page tables, the largest first.
    """
    found: dict[str, dict[tuple[str, str, int, str], dict[str, list[dict[str, Any]]]]] = {}
    first: dict[str, dict[str, Any]] = {}
    for row in cells.select([name for name in _NEEDED if name in cells.column_names]).to_pylist():
        if row["status"] != "ok":
            continue
        first.setdefault(row["baseline_point"], row)
        key = (row["mechanism"], row["variant"] or "", row["page_bytes"] or 0, row["point"])
        sides = found.setdefault(row["baseline_point"], {}).setdefault(key, {})
        where = str((row["engine"], row["machine"], row["host"], row["cost"]))
        sides.setdefault(where, []).append(row)
    made = [
        Scene({name: first[scene][name] for name in _SCENE}, tuple(sorted(_pairs(points), key=_rank)))
        for scene, points in found.items()
    ]
    return sorted(made, key=lambda one: (one.coordinates["workload"] or "", one.processes, one.region_bytes))


def costliest(cells: pa.Table) -> Scene | None:
    """The scene where `shmem` costs most page tables; without `shmem`, where anything does; None where nothing is known."""
    status, mechanism = (
        holds(cells, "status", "ok") & known(cells["page_table_bytes"]),
        holds(cells, "mechanism", BASELINE),
    )
    usable = status & mechanism if (status & mechanism).any() else status
    if not usable.any():
        return None
    code, _ = codes(cells["baseline_point"])
    largest = np.argmax(np.where(usable, numbers(cells["page_table_bytes"]), -1))
    return scenes(cells.take(indices(np.flatnonzero(code == code[largest]))))[0]


def checked(cells: pa.Table) -> list[Scene]:
    """The scenes that were both predicted and measured, with the pairs that were."""
    code, _ = codes(cells["point"])
    ok, real = holds(cells, "status", "ok"), holds(cells, "engine", "real")
    both = np.intersect1d(code[ok & real], code[ok & ~real])
    return scenes(cells.take(indices(np.flatnonzero(np.isin(code, both)))))


def without(cells: pa.Table, name: str, value: str) -> pa.Table:
    """The other rows."""
    return cells.take(indices(np.flatnonzero(~holds(cells, name, value))))


def _pairs(points: Mapping[tuple[str, str, int, str], Mapping[str, list[dict[str, Any]]]]) -> Iterable[Pair]:
    for (mechanism, variant, page, _), sides in points.items():
        made = [(rows[0]["engine"], _side(rows)) for _, rows in sorted(sides.items())]
        # One line for each machine (and each cost profile): most often one of each.
        predicted: Sequence[Side | None] = [side for engine, side in made if engine == "sim"] or [None]
        measured: Sequence[Side | None] = [side for engine, side in made if engine != "sim"] or [None]
        for one in predicted:
            for other in measured:
                yield Pair(mechanism, variant, page, one, other)


def _side(rows: list[dict[str, Any]]) -> Side:
    figures = {}
    for name in _FIGURES:
        values = [row[name] for row in rows if row.get(name) is not None]
        figures[name] = statistics.median(values) if values else None
    where = rows[0]["cost"] if rows[0]["engine"] == "sim" else rows[0]["host"]
    return Side(len(rows), figures, rows[0]["basis"], where)


def _rank(pair: Pair) -> tuple[bool, bool, float, str, str]:
    side = pair.predicted or pair.measured
    tables = side["page_table_bytes"] if side else None
    return pair.mechanism != BASELINE, tables is None, -(tables or 0), pair.mechanism, pair.variant


def missing(cells: pa.Table) -> list[Missing]:
    """Cells that did not end well, the most frequent reasons first."""
    counted: dict[tuple[str, str, str, str], int] = {}
    for row in without(cells.select(["mechanism", "engine", "status", "error"]), "status", "ok").to_pylist():
        key = (row["mechanism"], row["engine"], row["status"], row["error"] or "no reason given")
        counted[key] = counted.get(key, 0) + 1
    return [Missing(*key, number) for key, number in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]
