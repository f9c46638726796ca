"""Two stores held against each other, cell by cell: what changed, by how much, and whether that is more than noise.

    compare(first, second, across=()) -> Comparison
    comparison.worse(0.05) -> the differences that are worse by more than 5 %

Rows pair by `point`, engine and host, simulated ones by cost profile too. A figure that all repeats of a side agree on, as byte
counts do, is compared as it is. Others are tested, corrected over all tests by Benjamini and Hochberg: times by blocks of repeats
that took turns (Wilcoxon's signed ranks), since a machine that is slower a minute later is no difference between two runs. Times
of runs that did not take turns are `unclear`, but for what goes beyond a drift that the caller allows (Mann-Whitney, as counts).
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from mshare_bench.errors import StoreError
from mshare_bench.results.environments import Fact, differing_facts, refuse_strangers
from mshare_bench.results.schema import schema
from mshare_bench.results.stats import CONFIDENCE, FEWEST_BLOCKS, Shift, corrected, paired_shift, shift
from mshare_bench.results.store import Store
from mshare_bench.results.turns import Block, Start, blocks_of

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
    blocks
        Blocks in which the repeats of both sides took turns, as `results.turns` has them; None where no drift can be in it.
    change
        Relative difference; None where the first is zero and the second is not.
    low, high
        Its 95 % interval, over blocks where there are enough of them, else within the two runs; None for too few repeats.
    p
        Corrected for all tests of the comparison; None where there was none.
    effect
        Cliff's delta; over blocks, the rank-biserial correlation of pairs.
    verdict
        `better`, `worse`, `same`, or `unclear` (too few repeats, or times of runs that did not take turns).
    """

    cell: Mapping[str, Any]
    column: str
    unit: str
    better: str
    first: float
    second: float
    repeats: tuple[int, int]
    blocks: int | None
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
    drift
        Share by which times of runs that did not take turns were allowed to differ; None where no such difference counts.
    """

    differences: tuple[Difference, ...]
    facts: tuple[Fact, ...]
    only_first: int
    only_second: int
    tests: int
    drift: float | None = None

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
    starts: tuple[list[Start], list[Start]]

    @property
    def drifts(self) -> bool:
        """Whether it moves with what else the machine does; pages and faults do not."""
        return _unit(self.column) not in ("B", "count") or self.column in _NOISY

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of repeats that took turns; none for what does not drift."""
        return blocks_of(*self.starts) if self.drifts else ()

    @property
    def exact(self) -> bool:
        """Whether each side agrees with itself; of what drifts, with the other too: a single measured time is only alone."""
        values = {*self.first}, {*self.second}
        if self.drifts and self.cell["engine"] != "sim":
            return len(values[0] | values[1]) == 1 < min(len(self.first), len(self.second))
        return len(values[0]) == len(values[1]) == 1


def compare(
    first: Store,
    second: Store,
    across: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    drift: float | None = None,
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
    drift
        Share by which times of equal runs that did not take turns may differ on this machine (0.3 for 30 %): what goes beyond it
        counts. None: nothing does, since that share is not known.

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
    differences, tests = _judged(pairs, drift)
    return Comparison(tuple(differences), facts, len(one) - len(both), len(two) - len(both), tests, drift)


def _columns(columns: Sequence[str] | None) -> list[str]:
    known = [field.name for field in schema("cells") if field.metadata[b"better"] != b"none"]
    for name in columns or ():
        if name not in known:
            raise StoreError(f"columns={name}: no figure of cells; there are {', '.join(known)}")
    return [name for name in known if name not in _SKIPPED] if columns is None else list(columns)


def _grouped(cells: pa.Table) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    figures = [field.name for field in schema("cells") if field.metadata[b"better"] != b"none"]
    names = dict.fromkeys((*_KEY, *_SHOWN, "machine", "env", "status", "repeat", "started_ns", *figures))
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
            found.append(_Both(cell, column, before, after, noise, (_starts(one, column), _starts(two, column))))
    return found


def _starts(rows: Iterable[Mapping[str, Any]], column: str) -> list[Start]:
    return [(row["repeat"], row["started_ns"]) for row in rows if row[column] is not None]


def _values(rows: Iterable[Mapping[str, Any]], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column] is not None]


def _judged(pairs: Sequence[_Both], drift: float | None) -> tuple[list[Difference], int]:
    """Judge every pair, those that are not exact by tests that are corrected for their number; gives that number too."""
    found: list[Difference | None] = [_exact(pair) if pair.exact else None for pair in pairs]
    alike: dict[tuple[Any, ...], list[int]] = {}
    blocks = {place: pair.blocks for place, pair in enumerate(pairs) if found[place] is None}
    for place, own in blocks.items():
        pair = pairs[place]
        shape = (len(own),) if len(own) >= FEWEST_BLOCKS else (len(pair.first), len(pair.second), pair.drifts)
        alike.setdefault(shape, []).append(place)
    shifts = {
        shape: _shift([pairs[place] for place in places], [blocks[place] for place in places], drift)
        for shape, places in alike.items()
    }
    if not shifts:
        return [one for one in found if one is not None], 0
    p = np.concatenate([one.p for one in shifts.values()])
    adjusted = iter(corrected(p).tolist())
    for shape, places in alike.items():
        moved = shifts[shape]
        for row, place in enumerate(places):
            sure = _known(next(adjusted))
            change, low, high = (_known(one[row]) for one in (moved.change, moved.low, moved.high))
            effect = float(moved.effect[row])
            turns = len(blocks[place]) if pairs[place].drifts else None
            found[place] = _difference(pairs[place], change, low, high, sure, effect, blocks=turns)
    return [one for one in found if one is not None], int(np.isfinite(p).sum())


def _shift(pairs: Sequence[_Both], blocks: Sequence[Sequence[Block]], drift: float | None) -> Shift:
    """How pairs of one shape differ: all of them took turns in as many blocks, or none did."""
    if len(blocks[0]) >= FEWEST_BLOCKS:
        sides = zip(pairs, blocks, strict=True)
        medians = np.array([[_medians(pair, block) for block in own] for pair, own in sides])
        return paired_shift(medians[:, :, 0], medians[:, :, 1])
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    if not pairs[0].drifts:
        return shift(first, second)
    moved = shift(first, second, allowed=drift or 0.0)
    return moved if drift is not None else replace(moved, p=np.full(len(pairs), np.nan))


def _medians(pair: _Both, block: Block) -> tuple[float, float]:
    first, second = block
    return statistics.median(pair.first[at] for at in first), statistics.median(pair.second[at] for at in second)


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
    blocks: int | None = None,
) -> Difference:
    better = _better(pair.column)
    first, second = statistics.median(pair.first), statistics.median(pair.second)
    moved = second - first if change is None else change
    if not exact and p is None:
        verdict = "unclear"
    elif moved == 0 or abs(second - first) <= pair.noise or (p is not None and p >= 1 - CONFIDENCE):
        verdict = "same"
    else:
        verdict = "better" if (moved > 0) == (better == "higher") else "worse"
    repeats = (len(pair.first), len(pair.second))
    return Difference(
        pair.cell,
        pair.column,
        _unit(pair.column),
        better,
        first,
        second,
        repeats,
        blocks,
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
