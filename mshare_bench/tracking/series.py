"""A sweep as curves: one series per mechanism and engine over the longest numeric axis.

Nothing here knows MLflow. A series is cut finer (by workload, size, ...) only where a mechanism and engine have several points at
one step; the numeric axes that cut it are kept at their first, middle and last value, and there are fifty series at most.
"""

import colorsys
import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mshare_bench.domain.cell import digest
from mshare_bench.domain.units import format_size
from mshare_bench.results.columns import codes, indices, known, numbers
from mshare_bench.results.schema import schema

__all__ = ["MOST_SERIES", "MOST_VALUES", "Curves", "Series", "curves", "shade"]

MOST_SERIES = 50
MOST_VALUES = 17_000
"""Values of metrics that a sweep logs at most: MLflow takes some 10,000 a second, and its charts ask for 320 steps of a curve,
which is that many values of five mechanisms with ten figures."""

_NUMERIC = ("processes", "region_bytes", "page_bytes", "offset_bytes", "write_fraction")
_PARAMS = ("access_params", "workload_params")
_WORDS = ("workload", "access", "populate", "topology", "placement", "host", "machine", "cost", "mmu")
_FIGURES = tuple(
    field.name
    for field in schema("cells")
    if field.metadata[b"better"] in (b"lower", b"higher") and field.name != "page_table_noise_bytes"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve.

    Attributes
    ----------
    key
        Digest of what it is a curve of: the same for the same series of the same sweep.
    name
        For people: `shmem sim`, `hugetlb real region=1GiB`.
    mechanism, variant, engine
        What runs.
    fixed
        Coordinates that tell it from other series of the same mechanism and engine.
    params
        Those, and what else is the same for all its points and varies in the sweep.
    machine, workload
        Of its points; None where there are several.
    points
        Metric values by step: `{step: {metric: value}}`, medians over repeats.
    content
        Digest of `points`.
    """

    key: str
    name: str
    mechanism: str
    variant: str
    engine: str
    fixed: Mapping[str, Any]
    params: Mapping[str, Any]
    workload: str | None
    machine: str | None
    points: Mapping[int, Mapping[str, float]]
    content: str


@dataclass(frozen=True, slots=True)
class Curves:
    """The series of a sweep.

    Attributes
    ----------
    axis
        Column that is the step.
    scale
        What it was multiplied with to be a whole number.
    series
        Fifty at most, in the order in which they are worth looking at.
    left_out
        Series that there would be besides.
    """

    axis: str
    scale: int
    series: tuple[Series, ...]
    left_out: int


def curves(cells: pa.Table, most: int = MOST_SERIES) -> Curves:
    """Cut the `ok` rows of a table into series."""
    status, names = codes(cells["status"])
    cells = cells.take(indices(np.flatnonzero(status == (names.index("ok") if "ok" in names else -2))))
    if not cells.num_rows:
        return Curves("processes", 1, (), 0)
    columns, values = _coordinates(cells)
    distinct = {name: len(np.unique(column)) for name, column in columns.items()}
    axes = [name for name in values if name in distinct and _is_numeric(values[name])]
    lengths = {name: _length(columns, name) for name in axes}
    axis = max(axes, key=lambda name: (lengths[name], -axes.index(name)))
    scale = 1 if all(float(value).is_integer() for value in values[axis]) else 1000
    keys = _cut(columns, distinct, axis, set(axes))
    kept, left_out = _thin(columns, keys, set(axes), most)
    cells = cells.take(indices(kept))
    columns = {name: column[kept] for name, column in columns.items()}
    varying = [name for name in columns if distinct[name] > 1]
    table = cells.select([name for name in _FIGURES if name in cells.column_names]).to_pylist()
    found: dict[tuple[int, ...], list[int]] = {}
    for row, key in enumerate(zip(*(columns[name].tolist() for name in keys), strict=True)):
        found.setdefault(key, []).append(row)
    made = []
    for rows in found.values():
        same = {name: values[name][columns[name][rows[0]]] for name in columns if len(set(columns[name][rows])) == 1}
        points: dict[int, dict[str, list[float]]] = {}
        for row in rows:
            step = round(float(values[axis][columns[axis][row]]) * scale)
            point = points.setdefault(step, {})
            for name, value in table[row].items():
                if value is not None:
                    point.setdefault(name, []).append(float(value))
        fixed = {name: same[name] for name in keys if name not in ("mechanism", "variant", "engine")}
        made.append(_series(same, fixed, varying, points))
    told = [dataclasses.replace(one, content=_content(one.points)) for one in _short(_telling(made))]
    return Curves(axis, scale, tuple(sorted(told, key=_importance)), left_out)


def _short(series: Sequence[Series]) -> list[Series]:
    """Keep the steps of every series that all together have so many values; the ends stay."""
    values = sum(len(point) for one in series for point in one.points.values())
    if values <= MOST_VALUES:
        return list(series)
    made = []
    for one in series:
        steps = list(one.points)
        most = max(2, len(steps) * MOST_VALUES // values)
        kept = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
        points = {steps[index]: one.points[steps[index]] for index in kept}
        made.append(dataclasses.replace(one, points=points))
    return made


def _telling(series: Sequence[Series]) -> list[Series]:
    """Leave out metrics that are the same everywhere (no metadata, one size of data): each would be a chart of its own."""
    values: dict[str, set[float]] = {}
    for one in series:
        for point in one.points.values():
            for name, value in point.items():
                values.setdefault(name, set()).add(value)
    dull = {name for name, found in values.items() if len(found) == 1 and name != "page_table_bytes"}
    steps = sum(len(one.points) for one in series)
    if not dull or steps < 2:
        return list(series)
    made = []
    for one in series:
        points = {
            step: {name: value for name, value in point.items() if name not in dull}
            for step, point in one.points.items()
        }
        made.append(dataclasses.replace(one, points=points))
    return made


def _content(points: Mapping[int, Mapping[str, float]]) -> str:
    return digest({"points": {str(step): point for step, point in points.items()}})


def _importance(one: Series) -> tuple[Any, ...]:
    """Whole comparisons after one another, the largest first: the UI draws the first ten runs only."""
    sizes = tuple(
        (name, -_number(value) if _is_numeric([value]) else 0.0, str(value)) for name, value in one.fixed.items()
    )
    return (sizes, one.engine != "sim", one.name)


def _series(
    same: Mapping[str, Any],
    fixed: Mapping[str, Any],
    varying: Sequence[str],
    points: Mapping[int, Mapping[str, list[float]]],
) -> Series:
    medians = {
        step: {name: statistics.median(values) for name, values in sorted(point.items())}
        for step, point in sorted(points.items())
    }
    mechanism, variant, engine = same["mechanism"], same["variant"] or "", same["engine"]
    words = [mechanism, *(variant.split(";") if variant else []), engine, *(_said(*item) for item in fixed.items())]
    return Series(
        digest({"mechanism": mechanism, "variant": variant, "engine": engine, "fixed": dict(fixed)}),
        " ".join(words),
        mechanism,
        variant,
        engine,
        fixed,
        {name: same[name] for name in varying if name in same and same[name] is not None},
        same.get("workload"),
        same.get("machine"),
        medians,
        "",  # when it is known which of them stay
    )


def _said(name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes')}={format_size(value).replace(' ', '')}"
    return f"{name}={value}"


def _coordinates(cells: pa.Table) -> tuple[dict[str, npt.NDArray[Any]], dict[str, list[Any]]]:
    """Every coordinate as codes, and the values that the codes stand for."""
    columns: dict[str, npt.NDArray[np.int64]] = {}
    values: dict[str, list[Any]] = {}
    for name in ("mechanism", "variant", "engine", *_WORDS):
        coded, found = codes(cells[name])
        columns[name], values[name] = coded.astype(np.int64), [*found, None]
    for name in _NUMERIC:
        column = numbers(cells[name])
        distinct, code = np.unique(np.where(known(cells[name]), column, 0), return_inverse=True)
        columns[name], values[name] = code.astype(np.int64), distinct.tolist()
    for name in _PARAMS:
        coded, texts = codes(cells[name])
        parsed = [json.loads(text) if text else {} for text in texts] + [{}]
        for key in sorted({key for one in parsed for key in one}):
            items = [one.get(key) for one in parsed]
            order = sorted({json.dumps(item) for item in items}, key=lambda text: (_number(json.loads(text)), text))
            place = np.array([order.index(json.dumps(item)) for item in items], np.int64)
            full = f"{name.removesuffix('_params')}.{key}"
            columns[full], values[full] = place[coded], [json.loads(text) for text in order]
    return columns, values


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("inf")


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _cut(columns: Mapping[str, npt.NDArray[Any]], distinct: Mapping[str, int], axis: str, axes: set[str]) -> list[str]:
    """The coordinates that make a series: as few as give each of them one point at a step."""
    keys = ["mechanism", "variant", "engine"]
    rest = [name for name in columns if name not in (*keys, axis) and distinct[name] > 1]

    rest.sort(key=lambda name: (name in axes, distinct[name]))
    everything = _groups(columns, [*keys, axis, *rest])
    for name in rest:
        if _groups(columns, [*keys, axis]) == everything:
            break
        if _groups(columns, [*keys, axis, name]) > _groups(columns, [*keys, axis]):
            keys.append(name)
    return keys


def _length(columns: Mapping[str, npt.NDArray[Any]], axis: str) -> int:
    """Most values of an axis that one mechanism has (the page differs between mechanisms without being swept)."""
    who = _combined(columns, ("mechanism", "variant"))
    pairs = np.unique(who * (int(columns[axis].max()) + 1) + columns[axis])
    return int(np.bincount(pairs // (int(columns[axis].max()) + 1)).max())


def _groups(columns: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> int:
    return len(np.unique(_combined(columns, names)))


def _combined(columns: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> npt.NDArray[Any]:
    combined = np.zeros(len(next(iter(columns.values()))), np.int64)
    for name in names:
        column = columns[name] + 1
        combined = np.unique(combined * (int(column.max()) + 1) + column, return_inverse=True)[1].astype(np.int64)
    return combined


def _thin(
    columns: Mapping[str, npt.NDArray[Any]], keys: Sequence[str], axes: set[str], most: int
) -> tuple[npt.NDArray[Any], int]:
    """Rows of the series that are kept, and how many series are not."""
    kept = np.ones(len(columns["mechanism"]), np.bool_)
    for name in set(keys) & axes:
        distinct = np.unique(columns[name])
        kept &= np.isin(columns[name], distinct[[0, len(distinct) // 2, -1]])
    total = _groups(columns, keys)
    rows = np.flatnonzero(kept)
    left = {name: column[rows] for name, column in columns.items()}
    others = [name for name in keys if name not in ("mechanism", "variant", "engine")]
    if others and _groups(left, keys) > most:  # whole comparisons, evenly chosen
        scene = _combined(left, others)
        mechanisms = _groups(left, ["mechanism", "variant", "engine"])
        wanted = max(1, most // mechanisms)
        chosen = np.unique(np.linspace(0, scene.max(), wanted).round())
        rows = rows[np.isin(scene, chosen)]
    left = {name: column[rows] for name, column in columns.items()}
    series = _combined(left, keys)
    rows = rows[series < most]
    return rows, total - _groups({name: column[rows] for name, column in columns.items()}, keys)


def shade(color: str, step: int) -> str:
    """Give a colour a neighbour: the same hue, lighter with every step (darker where it is light already)."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    move = 0.28 * step / (1 + 0.28 * step)
    light = light + (0.92 - light) * move if light < 0.65 else light * (1 - move)
    return "#" + "".join(f"{round(one * 255):02x}" for one in colorsys.hls_to_rgb(hue, light, saturation))
