"""The plan of a run: every cell once, in order, and which of them are done."""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mshare_bench.domain.cell import Cell, digest
from mshare_bench.errors import ConfigError

__all__ = ["ORDERS", "Plan", "Refusal", "finished_on", "make_plan"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A cell that can't run, and why."""

    cell: Cell
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs.

    Attributes
    ----------
    cells
        In the order in which they run; repeats are cells of their own.
    refusals
        What can't run: kept as `skipped` rows.
    keys
        Digest and repeat of each of `cells`, in the same order.
    """

    cells: tuple[Cell, ...]
    refusals: tuple[Refusal, ...]
    keys: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Digest of what runs, in whatever order."""
        refused = (one.cell.digest for one in self.refusals)
        return digest({"cells": sorted({key for key, _ in self.keys}.union(refused))})

    def missing(self, finished: AbstractSet[tuple[str, int]]) -> Iterator[Cell]:
        """Cells that are not done, in order."""
        return (cell for cell, key in zip(self.cells, self.keys, strict=True) if key not in finished)


ORDERS = ("interleaved", "grouped", "random")
"""Orders of cells: all cells once, then all again (so that a drift meets all alike); each cell's repeats in a row; at random."""


def make_plan(
    candidates: Iterable[tuple[Cell, str | None]],
    repeats: Mapping[str, int],
    order: str = "interleaved",
    seed: int = 0,
    conditions: Sequence[str] = (),
) -> Plan:
    """Make a plan: of cells that are the same only the first counts, and each is repeated as its engine wants.

    Parameters
    ----------
    candidates
        Cells, and why they can't run (None where they can).
    repeats
        By engine; 1 where it is not named.
    order
        One of `ORDERS`.
    seed
        Of the random order.
    conditions
        What cells had to meet, as the user wrote it: named when none is left.

    Raises
    ------
    ConfigError
        When there is no cell at all.
    """
    cells: list[Cell] = []
    keys: list[tuple[str, int]] = []
    refusals: list[Refusal] = []
    seen: set[str] = set()
    for cell, reason in candidates:
        digest = cell.digest
        if digest in seen:
            continue
        seen.add(digest)
        if reason is not None:
            refusals.append(Refusal(cell, reason))
            continue
        for repeat in range(repeats.get(cell.engine, 1)):
            cells.append(cell if repeat == 0 else dataclasses.replace(cell, repeat=repeat))
            keys.append((digest, repeat))
    if not seen:
        said = " ".join(conditions)
        raise ConfigError(f"{said}: leaves no cell of these axes" if said else "these axes make no cell")
    positions = _order(keys, order, seed)
    return Plan(tuple(cells[at] for at in positions), tuple(refusals), tuple(keys[at] for at in positions))


def finished_on(
    plan: Plan, finished: AbstractSet[tuple[str, int]], machines: Iterable[str]
) -> AbstractSet[tuple[str, int]]:
    """What is done, where a real cell is done as soon as one of several machines has run it.

    Parameters
    ----------
    finished
        Cells and repeats that are done, under the digest of the machine that ran them.
    machines
        Digests of the machines that results are from.

    Returns
    -------
    set of (str, int)
        `finished`, and the plan's own keys of such cells.
    """
    elsewhere = sorted(set(machines))
    more = {
        key
        for cell, key in zip(plan.cells, plan.keys, strict=True)
        if cell.engine == "real"
        and any((dataclasses.replace(cell, machine=one).digest, cell.repeat) in finished for one in elsewhere)
    }
    return finished | more


def _order(keys: Sequence[tuple[str, int]], order: str, seed: int) -> Sequence[int]:
    positions = list(range(len(keys)))
    if order == "random":
        random.Random(seed).shuffle(positions)
    elif order == "interleaved":
        positions.sort(key=lambda at: keys[at][1])
    return positions
