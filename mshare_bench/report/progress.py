"""How far a run is: a bar with the time left on a terminal, and every failure in one line as soon as it is known.

    with progress(total) as shown:
        for tables in executor.run(...):
            shown.advance(tables)
        shown.note("logged to ...")

It writes to standard error; a run that is not on a terminal gets the failures and notes only, a quiet one nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Shown", "progress"]

_MOST_LINES = 20


class Shown:
    """What `progress` gives: tell it what is done."""

    def __init__(self, console: Console, bar: Progress | None, total: float) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("cells", total=total) if bar is not None else None
        self._lines: dict[tuple[str, str, str], int] = {}

    def advance(self, tables: Mapping[str, pa.Table], weight: float | None = None) -> None:
        """Count a batch of finished cells, by its rows or by `weight`, and tell those that did not end well.

        A reason is told once, and again only for another mechanism; after twenty lines the table at the end must do.
        """
        cells = tables.get("cells")
        if cells is None:
            return
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, cells.num_rows if weight is None else weight)
        statuses = cells["status"].to_pylist()
        if all(status == "ok" for status in statuses):
            return
        wanted = cells.select(["mechanism", "engine", "processes", "region_bytes", "status", "error"])
        for index, status in enumerate(statuses):
            if status != "ok":
                self._tell(wanted.slice(index, 1).to_pylist()[0])

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(escape(text), highlight=False)

    def _tell(self, row: dict[str, object]) -> None:
        key = (str(row["mechanism"]), str(row["status"]), str(row["error"]))
        self._lines[key] = self._lines.get(key, 0) + 1
        if self._lines[key] > 1 or len(self._lines) > _MOST_LINES:
            return
        style = "yellow" if row["status"] == "skipped" else "red"
        who = f"{row['mechanism']} {row['engine']}, {row['processes']} processes"
        self._console.print(f"[{style}]{row['status']}[/]: {escape(who)}: {escape(key[2])}", highlight=False)


@contextmanager
def progress(total: float, *, quiet: bool = False, console: Console | None = None) -> Iterator[Shown]:
    """Show how far a run is while the block runs.

    Parameters
    ----------
    total
        Cells in all, or the sum of the weights that `advance` gets.
    quiet
        Show nothing.
    console
        Where to; standard error by default.
    """
    console = console or Console(stderr=True, quiet=quiet)
    if quiet or not console.is_terminal:
        yield Shown(console, None, total)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]left[/]"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        yield Shown(bar.console, bar, total)
