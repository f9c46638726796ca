"""What applications say of themselves, beside the table: queries per second, how long a storm of connections takes."""

import statistics
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Group
from rich.text import Text

from mshare_bench.report import words
from mshare_bench.report.pairs import scenes
from mshare_bench.report.scene import headline
from mshare_bench.results.columns import indices
from mshare_bench.workloads.registry import workloads

__all__ = ["applications_section", "figure_rows", "figures_said", "remarks_of"]

_WORDS = {
    "audit_attributed": "share of tables that the audit explains",
    "other_page_table_growth": "other mappings' tables grew by",
}


def figure_rows(cells: pa.Table, figures: pa.Table) -> list[dict[str, Any]]:
    """Give one row for each scene, mechanism and figure, repeats put together by their median.

    Returns
    -------
    list of dict
        `scene`, `mechanism`, `figure`, `value`, `unit`.
    """
    having = set(figures["cell"].to_pylist())  # of a sweep that ran no program none, of another's scenes these only
    told = np.fromiter((cell in having for cell in cells["cell"].to_pylist()), np.bool_, cells.num_rows)
    cells = cells.take(indices(np.flatnonzero(told)))
    heads = {}
    for scene in scenes(cells):
        heads.update(dict.fromkeys(_points(cells, scene.coordinates), headline(scene)))
    of_cell = {
        row["cell"]: (heads.get(row["point"], row["workload"]), row["mechanism"])
        for row in cells.select(["cell", "point", "workload", "mechanism"]).to_pylist()
    }
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for row in figures.to_pylist():
        if row["value"] is not None and row["cell"] in of_cell and not row["figure"].startswith("machine_"):
            found.setdefault((*of_cell[row["cell"]], row["figure"], row["unit"]), []).append(row["value"])
    names = ("scene", "mechanism", "figure", "unit")
    return [{**dict(zip(names, key, strict=True)), "value": statistics.median(values)} for key, values in found.items()]


def figures_said(cells: pa.Table, figures: pa.Table) -> Group:
    """Make a line for each scene and figure, with the value under each mechanism."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in figure_rows(cells, figures):
        if row["figure"] == "other_page_table_growth" and not row["value"]:
            continue
        said = f"{_value(row['value'], row['unit'])} with {row['mechanism']}"
        lines.setdefault((row["scene"], row["figure"]), []).append(said)
    remarks = remarks_of(cells)
    if not lines and not remarks:
        return Group()
    texts = [Text("  What the programs say", "bold")] if lines else []
    for (scene, figure), values in lines.items():
        text = Text(f"    {scene}  ", "cyan")
        text.append(f"{_words(figure)}: ", "default")
        text.append(", ".join(values), "default")
        texts.append(text)
    texts += [Text(f"  {name}: {remark}", "yellow") for name, remark in remarks.items()]
    return Group(*texts, Text())


def applications_section(cells: pa.Table, figures: pa.Table) -> str:
    """Make the section of the report: a table of what the programs say, and what a reader must know; empty without either."""
    rows, remarks = figure_rows(cells, figures), remarks_of(cells)
    if not rows and not remarks:
        return ""
    lines = [
        f"<tr><td>{escape(row['scene'])}</td><td>{escape(row['mechanism'])}</td>"
        f"<td>{escape(_words(row['figure']))}</td><td>{escape(_value(row['value'], row['unit']))}</td></tr>"
        for row in rows
    ]
    head = "<tr><th>at</th><th>mechanism</th><th>figure</th><th>value</th></tr>"
    table = (
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'
        if lines
        else ""
    )
    said = "".join(f"<p>{escape(name)}: {escape(remark)}</p>" for name, remark in remarks.items())
    return f"<section>\n<h2>What the programs say</h2>\n{said}\n{table}\n</section>"


def remarks_of(cells: pa.Table) -> dict[str, str]:
    """What a reader of the figures must know, by workload."""
    known = workloads()
    names = sorted({name for name in cells["workload"].unique().to_pylist() if name in known})
    return {name: known[name].remark for name in names if known[name].remark}


def _points(cells: pa.Table, coordinates: Any) -> list[str]:
    names = list(coordinates)
    rows = cells.select(["point", *names]).to_pylist()
    return [row["point"] for row in rows if all(row[name] == coordinates[name] for name in names)]


def _words(figure: str) -> str:
    return _WORDS.get(figure, figure.replace("_", " "))


def _value(value: float, unit: str) -> str:
    if unit == "1":
        return f"{100 * value:.5g} %"
    if unit == "B":
        return words.size(value)
    if unit == "s":
        return words.duration(value * 1e9)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return shown if unit in ("", "count") else f"{shown} {unit}"
