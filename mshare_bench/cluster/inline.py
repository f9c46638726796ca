"""The inline executor: cells run in this process, one batch after the other."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from mshare_bench.cluster.stamp import Where, stamped
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, Tables

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """Runs cells here, in their order; needs nothing and leaves nothing behind.

    Parameters
    ----------
    where
        Reads this machine's environment.
    """

    name = "inline"

    def __init__(self, where: Callable[[], Where]) -> None:
        self._where = where

    def run(self, cells: Sequence[Cell], engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Give every stretch of cells with the same engine to that engine."""
        where = self._where()
        for engine, stretch in itertools.groupby(cells, key=lambda cell: cell.engine):
            for tables in engines[engine].run(tuple(stretch)):
                yield stamped(tables, where)

    def close(self) -> None:
        """Nothing was started."""
