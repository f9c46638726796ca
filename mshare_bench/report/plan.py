"""The plan in the terminal: what would run, why, and what it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mshare_bench.report import words

__all__ = ["MOST_LINES", "print_plan"]

MOST_LINES = 200
"""Cells that are listed one by one; of a larger plan the first ones, and the sums of all."""


def print_plan(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print one line per cell, then the sums.

    Parameters
    ----------
    rows
        As `mshare_bench.sweep.outlook.rows_of` gives them.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    several = len({row["workload"] for row in rows}) > 1
    for title in (*(("workload",) if several else ()), "mechanism", "engine"):
        table.add_column(title, no_wrap=True, min_width=10 if title != "engine" else 4)
    for title in ("procs", "region", "tables", "memory", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why it runs", no_wrap=True)
    for row in rows[:MOST_LINES]:
        table.add_row(
            *((str(row["workload"]),) if several else ()),
            f"{row['mechanism']} {row['variant']}".strip(),
            str(row["engine"]),
            f"{row['processes']:,}",
            words.size(row["region_bytes"]),
            _known(row["page_table_bytes"], words.size),
            _known(row["memory_bytes"] or None, words.size),
            _known(row["seconds"], _seconds),
            str(row["why"]) if row["state"] == "runs" else f"[dim]{row['state']}[/]",
        )
    console.print(table)
    if len(rows) > MOST_LINES:
        console.print(f"... and {len(rows) - MOST_LINES:,} more")
    for reason, whose in _refusals(rows).items():
        console.print(f"[yellow]skipped[/]: {escape(', '.join(whose))}: {escape(reason)}", highlight=False)
    counts = {state: sum(row["state"] == state for row in rows) for state in ("runs", "done", "skipped")}
    seconds = sum(row["seconds"] or 0 for row in rows)
    console.print(
        f"{len(rows):,} cells: {counts['runs']:,} would run (about {_seconds(seconds)} one after the other), "
        f"{counts['done']:,} are done, {counts['skipped']:,} can't be"
    )


def _refusals(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Mechanisms by the reason for which they are skipped."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == "skipped":
            who = f"{row['mechanism']} {row['variant']}".strip()
            whose = found.setdefault(str(row["why"]), [])
            if who not in whose:
                whose.append(who)
    return found


def _known(value: Any, written: Any) -> str:
    return "–" if value is None else str(written(value))


def _seconds(seconds: float) -> str:
    return words.duration(seconds * 1e9)
