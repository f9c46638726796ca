"""What this machine can run, in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_findings"]

_MARKS = {"ok": "[green]ok[/]", "limited": "[yellow]limited[/]", "missing": "[red]missing[/]"}


def print_findings(findings: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print a line per finding: topic, state, what was found, what it enables and how to get what is missing.

    Parameters
    ----------
    findings
        With the keys `topic`, `state`, `found`, `enables` and `remedy`.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("topic", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("found", "enables"):
        table.add_column(title, overflow="fold")
    for one in findings:
        enables = escape(str(one["enables"]))
        if one["remedy"]:
            enables += f"\n[bold]how:[/] {escape(str(one['remedy']))}"
        table.add_row(escape(str(one["topic"])), _MARKS[str(one["state"])], escape(str(one["found"])), enables)
    console.print(table)
