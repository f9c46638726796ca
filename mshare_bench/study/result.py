"""What a run leaves behind: its store, loaded."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from mshare_bench.results.store import Store

__all__ = ["Result", "load"]


@dataclass(frozen=True)
class Result:
    """Results of a run, or what was loaded.

    Attributes
    ----------
    path
        Folder of the store.
    store
        The store, not locked.
    link
        Where to look at it in MLflow, if it was logged.
    refused
        Cells of the plan that no machine could run (a size that a mechanism can't map); they are `skipped` rows.
    """

    path: Path
    store: "Store"
    link: str | None = None
    refused: int = 0

    @functools.cached_property
    def cells(self) -> "pa.Table":
        """One row per cell and repeat, as `docs/results.md` describes them."""
        return self.store.table("cells")

    def table(self, name: str) -> "pa.Table":
        """Rows of one table: `cells`, `regions`, `groups`, `phases`, `nodes`, ...

        Raises
        ------
        KeyError
            When the contract has no such table.
        """
        return self.cells if name == "cells" else self.store.table(name)

    @property
    def statuses(self) -> dict[str, int]:
        """Rows by status."""
        counts: dict[str, int] = {}
        for status in self.store.statuses().values():
            counts[status] = counts.get(status, 0) + 1
        return counts


def load(path: str | Path) -> Result:
    """Load the results of an earlier run.

    Parameters
    ----------
    path
        Folder of its store, or the `cells.arrow` in it.

    Raises
    ------
    StoreError
        When there is none, or a newer version has written it.
    """
    from mshare_bench.results.store import Store

    store = Store.open(path)
    return Result(store.path, store)
