"""What a calibration found, in the terminal: unit costs with their intervals, and a larger size predicted beside measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from mshare_bench.domain.units import format_duration, format_size

__all__ = ["print_checks", "print_costs"]


def print_costs(costs: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print a line per unit cost.

    Parameters
    ----------
    costs
        With the keys `name`, `value`, `low`, `high`, `unit` and `description`; a value of None was not shown well enough.
    console
        Where to; standard output by default.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("unit cost", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("of", overflow="fold")
    for one in costs:
        value, interval = "-", ""
        if one["value"] is not None:
            show = format_size if one["unit"] == "B" else format_duration
            value, interval = show(one["value"]), f"{show(one['low'])} to {show(one['high'])}"
        table.add_row(str(one["name"]), value, interval, str(one["description"]))
    (console or Console()).print(table)


def print_checks(checks: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print a line per larger size: `label`, `phase`, `predicted`, `measured` (ns per process) and `error` (relative)."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("predicted, then measured", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    for title in ("predicted", "measured", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in checks:
        times = (format_duration(one[key]) for key in ("predicted", "measured"))
        table.add_row(str(one["label"]), str(one["phase"]), *times, f"{one['error']:+.0%}")
    (console or Console()).print(table)
