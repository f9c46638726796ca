"""The plain sections of the report: break-even as a table, what has no result, the environment."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.pairs import Missing
from mshare_bench.report.selection import BreakEven

__all__ = ["break_even_table", "command", "environment_table", "missing_table"]

_MOST_SIZES = 8


def break_even_table(found: Sequence[BreakEven]) -> str:
    """From how many processes on mshare is ahead, a row for each other mechanism and measure, a column for each size."""
    if not found:
        return ""
    sizes = sorted({one.region_bytes for one in found})
    step = -(-len(sizes) // _MOST_SIZES)
    sizes = sizes[::step]
    rows = []
    for measure, loser in sorted({(one.measure, one.loser) for one in found}):
        cells = {one.region_bytes: one for one in found if (one.measure, one.loser) == (measure, loser)}
        shown = "".join(_crossing(cells.get(size)) for size in sizes)
        rows.append(f"<tr><td>beats {escape(loser)} in {escape(measure)}</td>{shown}</tr>")
    head = "".join(f"<th>{words.size(size)}</th>" for size in sizes)
    swept = found[0].swept
    note = f"of {words.count(swept[0])} to {words.count(swept[1])} processes swept"
    return (
        f'<div class="scroll"><table><thead><tr><th>{escape(found[0].winner)} ({note})</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _crossing(one: BreakEven | None) -> str:
    if one is None:
        return f'<td class="none">{words.DASH}</td>'
    if one.processes is None:
        return '<td class="bad">never</td>'
    return (
        '<td class="good">always</td>'
        if one.processes == one.swept[0]
        else f"<td>from {words.count(one.processes)}</td>"
    )


def missing_table(found: Sequence[Missing]) -> str:
    """What did not end well, and why."""
    if not found:
        return ""
    rows = "".join(
        f'<tr><td class="{"warn" if one.status == "skipped" else "bad"}">{escape(one.status)}</td>'
        f"<td>{escape(one.mechanism)}</td><td>{escape(one.engine)}</td><td>{one.cells:,}</td><td>{escape(one.reason)}</td></tr>"
        for one in found
    )
    return (
        '<section class="long">\n<h2>Without a result</h2>\n'
        "<p>Cells that this machine could not run, or that did not end well.</p>\n"
        '<div class="scroll"><table class="left"><thead><tr><th>Status</th><th>Mechanism</th><th>Engine</th><th>Cells</th>'
        f"<th>Reason</th></tr></thead><tbody>{rows}</tbody></table></div>\n</section>"
    )


def environment_table(environments: pa.Table, config: Mapping[str, Any]) -> str:
    """What the results were made on; a column for each environment, four at most."""
    found: dict[str, dict[str, str | None]] = {}
    for row in environments.to_pylist():
        found.setdefault(row["env"], {"machine": row["machine"]})[row["key"]] = row["value"]
    if not found:
        return ""
    shown = list(found.values())[:4]
    names = list(dict.fromkeys(name for one in shown for name in one))
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td>"
        + "".join(f"<td>{escape(one.get(name) or words.DASH)}</td>" for one in shown)
        + "</tr>"
        for name in names
    )
    more = f" {len(found) - 4} more are in environments.arrow." if len(found) > 4 else ""
    line = command(config)
    run = f"<p>Command: <code>{escape(line)}</code></p>" if line else ""
    return (
        '<section class="long">\n<h2>Environment</h2>\n'
        f"<p>What can change a result, as it was read when the cells ran.{more}</p>\n{run}"
        f'<div class="scroll"><table class="left facts"><tbody>{rows}</tbody></table></div>\n</section>'
    )


def command(config: Mapping[str, Any]) -> str:
    """The command line that gives the same cells; empty where the store does not know it."""
    overrides = config.get("overrides")
    if not isinstance(overrides, list):
        return ""
    return shlex.join(["mshare-bench", "run", *map(str, overrides)])
