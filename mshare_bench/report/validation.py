"""A validation in the terminal and as a picture: what was predicted beside what it is held against, block by block."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from mshare_bench.report import words

__all__ = ["figure", "print_validation", "summary"]

_TITLES = {
    "kernel": "this machine: predicted beside measured",
    "published": "published results",
    "out_of_sample": "out of sample: nothing of these rows set a parameter",
}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count the rows of every block: `rows`, `passed`, `failed`, `fitted`, `reported` (no verdict) and the `median_error`."""
    found: dict[str, dict[str, Any]] = {}
    for block in _TITLES:
        own = [row for row in rows if row["block"] == block]
        if not own:
            continue
        errors = [abs(row["ratio"] - 1) for row in own if row["ratio"] is not None and not row["fitted"]]
        found[block] = {
            "rows": len(own),
            "passed": sum(row["passed"] is True for row in own),
            "failed": sum(row["passed"] is False for row in own),
            "fitted": sum(row["fitted"] for row in own),
            "reported": sum(row["passed"] is None and not row["fitted"] for row in own),
            "median_error": median(errors) if errors else None,
        }
    return found


def print_validation(table: pa.Table, console: Console | None = None) -> None:
    """Print every block, a line per row, and what came of it; fitted rows are counted, not shown.

    Parameters
    ----------
    table
        Rows of `validation.arrow`.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    rows = table.to_pylist()
    for block, counts in summary(rows).items():
        console.print(f"[bold]{_TITLES[block]}[/bold]")
        own = [row for row in rows if row["block"] == block and not row["fitted"]]
        # What nothing was predicted for is told by its reason only, unless it stands in a published table.
        shown = [row for row in own if row["predicted"] is not None or block == "published"]
        console.print(_block(shown))
        silent = Counter(row["note"] for row in own if row["predicted"] is None and block != "published")
        for reason, count in silent.items():
            console.print(f"{count} measured and not predicted: {reason}", highlight=False)
        error = counts["median_error"]
        console.print(
            f"{counts['passed']} passed, {counts['failed']} failed, {counts['reported']} only reported, "
            f"{counts['fitted']} set a parameter"
            + (f"; median error {words.percent(error, 1)}" if error is not None else ""),
            highlight=False,
        )
        console.print()


def _block(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line per target and quantity: one that has several rows shows the range of their errors; those that fail stand alone."""
    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("target", "quantity"):
        shown.add_column(title, overflow="fold")
    for title in ("predicted", "reference", "error", "allowed"):
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    notes: dict[str, int] = {}
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        alone = (row["coordinates"],) if row["passed"] is False else ()
        alike = (row["passed"], row["tolerance"], row["note"], row["predicted"] is None)
        groups.setdefault((row["target"], row["quantity"], *alike, *alone), []).append(row)
    for (target, quantity, passed, tolerance, note, *_), own in groups.items():
        verdict = {True: "[green]pass[/green]", False: "[red]FAIL[/red]", None: words.DASH}[passed]
        if note:
            verdict += f" [dim]({notes.setdefault(note, len(notes) + 1)})[/dim]"
        where = own[0]["coordinates"] if passed is False else f"{len(own)} rows" if len(own) > 1 else ""
        numbers = [
            _number(own[0][name], own[0]["unit"]) if len(own) == 1 else "" for name in ("predicted", "reference")
        ]
        shown.add_row(
            target, f"{quantity} ({where})" if where else quantity, *numbers, _errors(own), _allowed(tolerance), verdict
        )
    if notes:
        shown.caption = "\n".join(f"({number}) {note}" for note, number in notes.items())
        shown.caption_justify = "left"
    return shown


def _errors(rows: Sequence[Mapping[str, Any]]) -> str:
    ratios = sorted(row["ratio"] - 1 for row in rows if row["ratio"] is not None)
    if not ratios:
        return words.DASH
    low, high = (f"{one:+.1%}" for one in (ratios[0], ratios[-1]))
    return low if low == high else f"{low} to {high}"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return words.DASH
    if unit == "ns":
        return words.duration(value)
    if unit == "B":
        return words.size(value)
    number = f"{value:,.0f}" if value == int(value) and abs(value) >= 100 else f"{value:,.4g}"
    return f"{number} {unit}" if unit in ("GiB", "KiB", "MiB", "ms", "GB/s") else number


def _allowed(tolerance: float | None) -> str:
    if tolerance is None:
        return words.DASH
    return "exact" if tolerance == 0 else f"{tolerance * 100:.3g} %"


def figure(table: pa.Table, path: Path) -> Path:
    """Draw predicted over reference, a dot per prediction and a row per target, with the tolerance behind it; writes a PNG.

    Parameters
    ----------
    table
        Rows of `validation.arrow`.
    path
        Where to; its folder is made.
    """
    import matplotlib as mpl

    from mshare_bench.report.figures import STYLE, new_figure, write_figures

    rows = [row for row in table.to_pylist() if row["ratio"] is not None and not row["fitted"]]
    labels = list(dict.fromkeys((row["block"], f"{row['target']}, {row['quantity']}") for row in rows))
    with mpl.rc_context(STYLE):
        made, (axis,) = new_figure(9.6, 1.2 + 0.2 * max(1, len(labels)), 1)
    for place, label in enumerate(labels):
        own = [row for row in rows if (row["block"], f"{row['target']}, {row['quantity']}") == label]
        allowed = [row["tolerance"] for row in own if row["tolerance"]]
        if allowed:
            axis.barh(place, 2 * max(allowed), left=1 - max(allowed), height=0.8, color="#d8dee4", zorder=1)
        for row in own:
            color = {True: "#117733", False: "#cc3311", None: "#0077bb"}[row["passed"]]
            axis.plot([row["ratio"]], [place], marker="o", markersize=4, color=color, zorder=3)
    axis.axvline(1, color="#57606a", linewidth=0.8, zorder=2)
    axis.set_yticks(range(len(labels)), [label for _, label in labels])
    axis.set_ylim(-0.7, len(labels) - 0.3)
    axis.invert_yaxis()
    axis.set_xlabel("predicted / reference (green passes, red fails, blue: no verdict)")
    (written,) = write_figures({path.stem: made}, path.parent)
    return written
