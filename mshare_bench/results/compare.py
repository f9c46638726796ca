"""Two stores held against each other, cell by cell: what changed, by how much, and whether that is more than noise.

    compare(first, second, across=()) -> Comparison
    comparison.worse(0.05) -> the differences that are worse by more than 5 %

Rows pair by `point`, engine and host, simulated ones by cost profile too. Times are tested (Mann-Whitney, corrected over all
tests by Benjamini and Hochberg); a figure that all repeats of a side agree on, as byte counts do, is compared as it is.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from mshare_bench.errors import StoreError
from mshare_bench.results.environments import Fact, differing_facts, refuse_strangers
from mshare_bench.results.schema import schema
from mshare_bench.results.stats import CONFIDENCE, corrected, shift
from mshare_bench.results.store import Store

__all__ = ["Comparison", "Difference", "compare"]

_KEY = ("point", "engine", "host", "cost", "mmu")
_SHOWN = ("workload", "mechanism", "variant", "engine", "processes", "region_bytes", "access", "page_bytes")
_NOISY = ("tlb_misses", "shootdowns")
"""Counts that come out otherwise every time they are measured."""
_SKIPPED = ("page_table_noise_bytes", "page_table_saved_bytes")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one cell on both sides.

    Attributes
    ----------
    cell
        What it is of: columns of `cells` by name.
    column, unit, better
        The figure, from the schema.
    first, second
        Medians of the repeats; `repeats` says how many there were.
    change
        Relative difference; None where the first is zero and the second is not.
    low, high
        Its 95 % interval; None for fewer than three repeats.
    p
        Corrected for all tests of the comparison; None where there was none.
    effect
        Cliff's delta.
    verdict
        `better`, `worse`, `same`, or `unclear` (too few repeats to tell a difference from noise).
    """

    cell: Mapping[str, Any]
    column: str
    unit: str
    better: str
    first: float
    second: float
    repeats: tuple[int, int]
    change: float | None
    low: float | None
    high: float | None
    p: float | None
    effect: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    differences
        Every figure of every cell that both have.
    facts
        What of the environments differs.
    only_first, only_second
        Cells that one side alone has a result of.
    tests
        Significance tests made; p values are corrected for so many.
    """

    differences: tuple[Difference, ...]
    facts: tuple[Fact, ...]
    only_first: int
    only_second: int
    tests: int

    def worse(self, threshold: float = 0.0) -> tuple[Difference, ...]:
        """Differences that are worse by more than this share, 0.05 for five per cent."""
        found = (one for one in self.differences if one.verdict == "worse")
        return tuple(one for one in found if one.change is None or abs(one.change) > threshold)


@dataclass(frozen=True, slots=True)
class _Both:
    """The repeats of one figure on both sides; differences up to `noise` are none."""

    cell: Mapping[str, Any]
    column: str
    first: list[float]
    second: list[float]
    noise: float

    @property
    def exact(self) -> bool:
        """Whether each side agrees with itself; a single measured time does not, it only is alone."""
        agree = len(set(self.first)) == len(set(self.second)) == 1
        alone = min(len(self.first), len(self.second)) == 1
        steady = self.cell["engine"] == "sim" or (_unit(self.column) in ("B", "count") and self.column not in _NOISY)
        return agree and (not alone or steady)


def compare(
    first: Store, second: Store, across: Iterable[str] = (), columns: Sequence[str] | None = None
) -> Comparison:
    """Compare the `ok` rows of two stores.

    Parameters
    ----------
    first, second
        Before and after.
    across
        What may differ between the machines of real rows: `hardware`, `kernel`, or single facts (`thp`).
    columns
        The figures compared; by default all that say which direction is better and that both sides have.

    Raises
    ------
    StoreError
        When no cell is on both sides, when the machines differ in something that `across` does not name, or when `across` or
        `columns` name what does not exist.
    """
    wanted = _columns(columns)
    one, two = _grouped(first.table("cells")), _grouped(second.table("cells"))
    both = [key for key in one if key in two]
    if not both:
        raise StoreError(f"{first.path} and {second.path}: no cell has a result in both")
    where = (
        ((before["env"], before["machine"]), (after["env"], after["machine"]))
        for key in both
        if key[1] != "sim"
        for before in one[key]
        for after in two[key]
    )
    facts = differing_facts(first, second, where)
    refuse_strangers(facts, across, first, second)
    pairs = [pair for key in both for pair in _paired(one[key], two[key], wanted)]
    differences, tests = _judged(pairs)
    return Comparison(tuple(differences), facts, len(one) - len(both), len(two) - len(both), tests)


def _columns(columns: Sequence[str] | None) -> list[str]:
    known = [field.name for field in schema("cells") if field.metadata[b"better"] != b"none"]
    for name in columns or ():
        if name not in known:
            raise StoreError(f"columns={name}: no figure of cells; there are {', '.join(known)}")
    return [name for name in known if name not in _SKIPPED] if columns is None else list(columns)


def _grouped(cells: pa.Table) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    figures = [field.name for field in schema("cells") if field.metadata[b"better"] != b"none"]
    names = dict.fromkeys((*_KEY, *_SHOWN, "machine", "env", "status", *figures))
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in cells.select(list(names)).to_pylist():
        if row["status"] == "ok":
            key = tuple(row[name] for name in _KEY)
            found.setdefault(key if row["engine"] == "sim" else (*key[:3], None), []).append(row)
    return found


def _paired(one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[_Both]:
    cell = {name: two[0][name] for name in _SHOWN}
    found = []
    for column in columns:
        before, after = _values(one, column), _values(two, column)
        if before and after:
            counter = column == "page_table_bytes"
            noise = max(_values((*one, *two), "page_table_noise_bytes"), default=0.0) if counter else 0.0
            found.append(_Both(cell, column, before, after, noise))
    return found


def _values(rows: Iterable[Mapping[str, Any]], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column] is not None]


def _judged(pairs: Sequence[_Both]) -> tuple[list[Difference], int]:
    """Judge every pair, those that are not exact by tests that are corrected for their number; gives that number too."""
    found: list[Difference | None] = [_exact(pair) if pair.exact else None for pair in pairs]
    shapes: dict[tuple[int, int], list[int]] = {}
    for place, pair in enumerate(pairs):
        if found[place] is None:
            shapes.setdefault((len(pair.first), len(pair.second)), []).append(place)
    shifts = {
        shape: shift([pairs[place].first for place in places], [pairs[place].second for place in places])
        for shape, places in shapes.items()
    }
    if not shifts:
        return [one for one in found if one is not None], 0
    p = np.concatenate([one.p for one in shifts.values()])
    adjusted = iter(corrected(p).tolist())
    for shape, places in shapes.items():
        moved = shifts[shape]
        for row, place in enumerate(places):
            sure = _known(next(adjusted))
            change, low, high = (_known(one[row]) for one in (moved.change, moved.low, moved.high))
            found[place] = _difference(pairs[place], change, low, high, sure, float(moved.effect[row]))
    return [one for one in found if one is not None], int(np.isfinite(p).sum())


def _exact(pair: _Both) -> Difference:
    before, after = pair.first[0], pair.second[0]
    change = after / before - 1 if before else 0.0 if not after else None
    return _difference(pair, change, None, None, None, float((after > before) - (after < before)), exact=True)


def _difference(
    pair: _Both,
    change: float | None,
    low: float | None,
    high: float | None,
    p: float | None,
    effect: float,
    exact: bool = False,
) -> Difference:
    better = _better(pair.column)
    first, second = statistics.median(pair.first), statistics.median(pair.second)
    if not exact and p is None:
        verdict = "unclear"
    elif first == second or abs(second - first) <= pair.noise or (p is not None and p >= 1 - CONFIDENCE):
        verdict = "same"
    else:
        verdict = "better" if (second > first) == (better == "higher") else "worse"
    repeats = (len(pair.first), len(pair.second))
    return Difference(
        pair.cell,
        pair.column,
        _unit(pair.column),
        better,
        first,
        second,
        repeats,
        change,
        low,
        high,
        p,
        effect,
        verdict,
    )


@cache
def _unit(column: str) -> str:
    return str(schema("cells").field(column).metadata[b"unit"].decode())


@cache
def _better(column: str) -> str:
    return str(schema("cells").field(column).metadata[b"better"].decode())


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
