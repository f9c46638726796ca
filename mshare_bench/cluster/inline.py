"""The inline executor: cells run in this process, one batch after the other."""

from collections.abc import Callable, Iterator, Mapping

from mshare_bench.cluster.batch import batches, run_batch
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.cells import Cells
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

    def run(self, cells: Cells, engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Give every batch to its engine; tables come back batch by batch."""
        where = self._where()
        for engine, batch in batches(cells):
            yield run_batch(batch, engines[engine], where)

    def close(self) -> None:
        """Nothing was started."""
