"""The plan of a run: every cell once, in order, and which of them are done."""

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mshare_bench.domain.cell import Cell, digest
from mshare_bench.domain.cells import Cells
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
    """

    cells: Cells
    refusals: tuple[Refusal, ...]

    @property
    def digest(self) -> str:
        """Digest of what runs, in whatever order."""
        refused = np.array([one.cell.digest for one in self.refusals], "S16")
        return digest({"cells": np.unique(np.concatenate([self.cells.digests[:, 0], refused])).astype(str).tolist()})

    def missing(self, finished: AbstractSet[tuple[str, int]]) -> Cells:
        """Cells that are not done, in order."""
        return self.cells.take(np.array([key not in finished for key in self.cells.keys], bool))


ORDERS = ("interleaved", "grouped", "random")
"""Orders of cells: all cells once, then all again (so that a drift meets all alike); each cell's repeats in a row; at random."""


def make_plan(
    candidates: Sequence[Cell],
    repeats: Mapping[str, int],
    order: str = "interleaved",
    seed: int = 0,
    *,
    refused: Sequence[str | None] | None = None,
    conditions: Sequence[str] = (),
) -> Plan:
    """Make a plan: of cells that are the same only the first counts, and each is repeated as its engine wants.

    Parameters
    ----------
    candidates
        What was asked for.
    repeats
        By engine; 1 where it is not named.
    order
        One of `ORDERS`.
    seed
        Of the random order.
    refused
        Why each of them can't run, None where it can; left out where all can.
    conditions
        What cells had to meet, as the user wrote it: named when none is left.

    Raises
    ------
    ConfigError
        When there is no cell at all.
    """
    cells = Cells.of(candidates)
    if not len(cells):
        said = " ".join(conditions)
        raise ConfigError(f"{said}: leaves no cell of these axes" if said else "these axes make no cell")
    first: dict[bytes, int] = {}
    for place, key in enumerate(cells.digests[:, 0].tolist()):
        first.setdefault(key, place)
    reasons = refused or [None] * len(cells)
    refusals = tuple(Refusal(cells[place], why) for place in first.values() if (why := reasons[place]) is not None)
    running = cells.take(np.array([place for place in first.values() if reasons[place] is None], np.int64))
    counts = np.ones(len(running), np.int64)
    for runner in running.runners:
        counts[running.whose(runner=runner.__eq__)] = repeats.get(runner.engine, 1)
    places = np.repeat(np.arange(len(running)), counts)
    rounds = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    turns = _turns(rounds, order, seed)
    return Plan(running.take(places[turns]).repeated(rounds[turns]), refusals)


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
    if not elsewhere:
        return finished
    real = plan.cells.take(plan.cells.whose(runner=lambda one: one.engine == "real"))
    return finished | {
        (cell.digest, cell.repeat)
        for cell in real
        if any((dataclasses.replace(cell, machine=one).digest, cell.repeat) in finished for one in elsewhere)
    }


def _turns(rounds: npt.NDArray[np.int64], order: str, seed: int) -> npt.NDArray[np.int64]:
    """In which order cells with these repeats run, that come with each cell's repeats in a row."""
    if order == "interleaved":
        return np.argsort(rounds, kind="stable")
    places = list(range(len(rounds)))
    if order == "random":
        random.Random(seed).shuffle(places)
    return np.array(places, np.int64)
