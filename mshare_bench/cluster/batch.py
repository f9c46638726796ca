"""Runs one batch of cells with one engine: what every executor does, wherever it does it."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from mshare_bench.cluster.stamp import Where, stamped
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Engine, Tables
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.files import pack
from mshare_bench.results.rows import Rows

__all__ = ["SIMULATED_BATCH", "batches", "failed", "run_batch", "run_packed"]

_LOG = logging.getLogger(__name__)

SIMULATED_BATCH = 16384
"""Simulated cells in a batch at most: large enough for vectorised work, small enough to be on disk soon."""


def run_batch(cells: Sequence[Cell], engine: Engine, where: Where) -> Tables:
    """Run cells and stamp their rows.

    An engine that raises (it should not) costs the cell that made it raise, which becomes a `failed` row; the others run, each
    for itself, which is slow and is said.
    """
    try:
        tables: Tables = Rows.merge(list(engine.run(cells)))
    except Exception as error:  # whatever an engine or a plug-in raises must not cost the cells beside it
        if len(cells) == 1:
            return failed(cells, f"{type(error).__name__}: {error}", where)
        _LOG.warning("%d cells together raised %s: %s; each is run for itself", len(cells), type(error).__name__, error)
        return Rows.merge([run_batch((cell,), engine, where) for cell in cells])
    return stamped(tables, where)


def run_packed(cells: Sequence[Cell], engine: Engine, where: Where) -> bytes:
    """The same, packed: Ray would import pandas at both ends to send tables, and send them as large as they are."""
    return bytes(pack(run_batch(cells, engine, where)))


def failed(cells: Sequence[Cell], reason: str, where: Where, status: str = "failed") -> Tables:
    """Rows of cells that did not finish."""
    rows = Rows()
    for cell in cells:
        rows.add("cells", **cell_columns(cell, status, " ".join(reason.split())))
    return stamped(rows.tables(), where)


def batches(cells: Cells, simulated: int = SIMULATED_BATCH) -> Iterator[tuple[str, Sequence[Cell]]]:
    """Cut cells into batches of one engine each; a real cell is a batch of its own.

    Real cells stay in their order, and where they are among the simulated ones. Simulated ones of one workload and size come
    together: what is drawn at random for them is drawn in one batch, whatever the mechanism and the number of processes.
    """
    drawn = [(task.workload.name, task.workload.regions[0].size) for task in cells.tasks]
    ranks = {what: rank for rank, what in enumerate(sorted(set(drawn)))}
    rank = np.array([ranks[what] for what in drawn], np.int64)[cells.columns[:, 0]]
    here = cells.whose(runner=lambda one: one.engine == "sim")
    for stretch in np.split(np.arange(len(cells)), np.flatnonzero(np.diff(here)) + 1):
        if not here[stretch[:1]].all():
            yield from ((cell.engine, (cell,)) for cell in cells.take(stretch))
            continue
        alike = stretch[np.argsort(rank[stretch], kind="stable")]
        for start in range(0, len(alike), simulated):
            yield "sim", cells.take(alike[start : start + simulated])
