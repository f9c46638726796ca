"""The table in the terminal.

    print_results(tables, console=None) -> None       table, what did not run, the answer
    rows_json(cells) -> str                           the cells as JSON, for `--json`

From 80 columns on; a wider terminal shows more: the bytes saved, the data, predicted and measured times apart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from mshare_bench.report import words
from mshare_bench.report.answer import answer
from mshare_bench.report.applications import figures_said
from mshare_bench.report.interfaces import compare_interfaces, interface_lines, interface_sentence
from mshare_bench.report.mmu import print_walks
from mshare_bench.report.pairs import Missing, Pair, Scene, missing, scenes, select
from mshare_bench.report.scene import headline, said, varying
from mshare_bench.report.studies import Study, study_of
from mshare_bench.results.savings import BASELINE

__all__ = ["most_pairs", "print_results", "rows_json"]

most_pairs = 60
"""Lines that the table in the terminal holds; of a larger sweep it shows whole scenes, evenly chosen."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: tuple[str, str]
    cells: list[Text]
    right: bool = True

    @property
    def width(self) -> int:
        return max(
            cell_len(text) for text in (*self.title, *(line for cell in self.cells for line in cell.plain.split("\n")))
        )


def rows_json(cells: pa.Table) -> str:
    """Write the rows of `cells` as a JSON array, one row a line, null for what nobody measured or computed."""
    rows = ",\n".join(json.dumps(row, allow_nan=False) for row in cells.to_pylist())
    return f"[\n{rows}\n]" if rows else "[]"


def print_results(tables: Mapping[str, pa.Table], console: Console | None = None) -> None:
    """Print the results table, what did not run and why, and the answer in one sentence.

    Parameters
    ----------
    tables
        Tables of a store by name, savings filled; only `cells` is needed. `figures` is shown where it is given, those of
        `report.studies.TABLES` are looked at.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    cells = tables["cells"]
    study = study_of(tables)
    if study is not None:
        _print_study(study, console)
        if absent := missing(cells):
            console.print(_absent(absent))
        console.print(Text(study.answer, style="bold"))
        return
    shown, left_out = select(cells, most_pairs)
    found = scenes(shown)
    if found:
        console.print(_table(found, console.width), no_wrap=True, crop=False, overflow="ignore")
    if left_out:
        console.print(
            f"  [dim]… {left_out:,} more combinations of processes and region are in cells.arrow[/dim]\n",
            highlight=False,
        )
    print_walks(cells, console)
    if "figures" in tables and tables["figures"].num_rows:
        console.print(figures_said(cells, tables["figures"]))
    absent = missing(cells)
    if absent:
        console.print(_absent(absent))
    contests = compare_interfaces(cells)
    if contests:
        console.print(Text("\n".join(["  Interfaces", *(f"    {line}" for line in interface_lines(contests)), ""])))
    console.print(Text(" ".join(filter(None, (answer(cells), interface_sentence(contests)))), style="bold"))


def _print_study(study: Study, console: Console) -> None:
    """The table of a study; columns that have no room are left out, the last first."""
    table = [row for row in (study.head, *study.rows) if len(row) > 1]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(study.head))]
    while len(widths) > 1 and sum(widths) + 2 * len(widths) > console.width:
        widths.pop()
    lines = [
        Text(),
        _study_line(study.head, widths, "bold"),
        Text("  " + "─" * (sum(widths) + 2 * len(widths) - 2), "dim"),
    ]
    for row in study.rows:
        lines.append(Text(f"  {row[0]}", "bold cyan") if len(row) == 1 else _study_line(row, widths, ""))
    for line in (*lines, Text()):
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, no_wrap=True)
    for note in study.notes:
        console.print(Padding(Text(note, "dim"), (0, 0, 0, 2), expand=False))
    if study.notes:
        console.print()


def _study_line(row: Sequence[str], widths: Sequence[int], style: str) -> Text:
    parts = [
        cell + " " * (width - cell_len(cell)) if i == 0 else " " * (width - cell_len(cell)) + cell
        for i, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return Text("  " + "  ".join(parts).rstrip(), style)


def _table(found: Sequence[Scene], width: int) -> Group:
    pairs = [(scene, pair) for scene in found for pair in scene.pairs]
    for detail in (3, 2, 1, 0):
        gap = 2 if detail else 1
        columns = _columns(pairs, detail)
        room = width - 2 - sum(column.width + gap for column in columns)
        first = _names(pairs, room)
        if first.width <= room and (not detail or room >= min(_names(pairs, 99).width, 26)):
            break
    columns = [first, *columns]
    lines: list[Text] = [Text()]
    for row in range(2):
        if any(column.title[row] for column in columns):
            lines.append(_line(columns, [Text(column.title[row], "bold") for column in columns], gap))
    lines.append(Text("  " + "─" * (sum(column.width + gap for column in columns) - gap), "dim"))
    tells = varying(found)
    index = 0
    for scene in found:
        lines.append(_heading(scene, tells, width))
        for _ in scene.pairs:
            parts = [column.cells[index].split("\n") for column in columns]
            for line in range(max(len(part) for part in parts)):
                lines.append(_line(columns, [part[line] if line < len(part) else Text() for part in parts], gap))
            index += 1
        lines.append(Text())
    if any("~" in cell.plain for column in columns for cell in column.cells) and any(
        pair.measured for _, pair in pairs
    ):
        lines[-1:] = [Text("  ~ predicted; the other times are measured", "dim"), Text()]
    return Group(*lines)


def _line(columns: Sequence[_Column], cells: Sequence[Text], gap: int) -> Text:
    line = Text("  ")
    for index, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        fill = " " * (column.width - cell_len(cell.plain))
        line.append(" " * gap if index else "")
        line.append_text(Text(fill) + cell if column.right else cell + Text(fill))
    line.rstrip()
    return line


def _names(pairs: Sequence[tuple[Scene, Pair]], room: int) -> _Column:
    cells = []
    for scene, pair in pairs:
        name, details = scene.label(pair)
        text = Text(name, "bold")
        if details:
            if cell_len(name) + cell_len(details) + 1 <= room:
                text.append(f" {details}", "not bold dim")
            else:
                for detail in details.split(", "):
                    cut = detail if cell_len(detail) + 1 <= room else detail[: room - 2] + "…"
                    text.append(f"\n {cut}", "not bold dim")
        cells.append(text)
    return _Column(("", "mechanism"), cells, right=False)


def _columns(pairs: Sequence[tuple[Scene, Pair]], detail: int) -> list[_Column]:
    """The columns of figures: `detail` 0 and 1 the least, 2 the bytes saved and the data too, 3 both engines apart."""
    predicted = any(pair.predicted for _, pair in pairs)
    measured = any(pair.measured for _, pair in pairs)

    def column(title: tuple[str, str], name: str, engine: str | None) -> _Column:
        return _Column(title, [_figure(pair, name, engine, mark=measured) for _, pair in pairs])

    made = []
    if predicted:
        made.append(column(("page tables", "predicted"), "page_table_bytes", "sim"))
    if measured:
        made.append(column(("page tables", "measured"), "page_table_bytes", "real"))
    if any(pair.ratio is not None for _, pair in pairs):
        made.append(_Column(("", "ratio"), [_ratio(pair) for _, pair in pairs]))
    saved = [_saved(pair, detail >= 2) for _, pair in pairs]
    made.append(_Column(("saved", "against shmem") if detail >= 2 else ("", "saved"), saved))
    if detail >= 2 and any(pair.best["data_bytes"] is not None for _, pair in pairs):
        made.append(column(("", "data"), "data_bytes", None))
    for name, title in (("minor_faults", "faults"), ("attach_ns", "attach"), ("touch_ns", "touch")):
        if detail >= 3 and predicted and measured:
            made += [column((title, "predicted"), name, "sim"), column((title, "measured"), name, "real")]
        else:
            made.append(column(("", title), name, None))
    return made


def _figure(pair: Pair, name: str, engine: str | None, mark: bool) -> Text:
    """A figure of one side; with `engine=None` of the measurement where there is one, else a prediction (a time gets a `~`)."""
    show = words.size if name.endswith("_bytes") else words.duration if name.endswith("_ns") else words.count
    if engine == "sim":
        side = pair.predicted
    elif engine == "real":
        side = pair.measured
    else:
        side = pair.measured if pair.measured is not None and pair.measured[name] is not None else pair.predicted
    value = None if side is None else side[name]
    if value is None:
        return Text(words.DASH, "dim")
    tilde = mark and engine is None and side is pair.predicted and name.endswith("_ns")
    return Text(("~" if tilde else "") + show(value))


def _ratio(pair: Pair) -> Text:
    style = {None: "dim", True: "green", False: "bold yellow"}[pair.agrees]
    return Text(words.ratio(pair.ratio), style)


def _saved(pair: Pair, wide: bool) -> Text:
    saved, left = pair.best["page_table_saved_bytes"], pair.best["page_table_bytes"]
    if saved is None or left is None:
        return Text(words.DASH, "dim")
    if pair.mechanism == BASELINE:
        return Text("baseline", "dim")
    share = words.percent(words.share_saved(saved, left))
    style = "green" if saved > 0 else "red" if saved < 0 else ""
    return Text(f"{words.size(saved)}  {share:>8}" if wide else share, style)


def _heading(scene: Scene, tells: frozenset[str], width: int) -> Text:
    text = Text("  ")
    text.append(headline(scene), "bold cyan")
    text.append(f"  {said(scene, tells)}", "cyan")
    text.truncate(width, overflow="ellipsis")
    return text


def _absent(found: Sequence[Missing]) -> Group:
    lines: list[Text | Padding] = [Text("  Without a result", "bold")]
    for one in found[:12]:
        who = f"{one.mechanism} {one.engine}" + (f" ({one.cells:,} cells)" if one.cells > 1 else "")
        text = Text(f"{one.status}: ", "yellow" if one.status == "skipped" else "bold red")
        text.append(who, "default")
        text.append(f": {one.reason}", "dim")
        lines.append(Padding(text, (0, 0, 0, 4), expand=False))
    if len(found) > 12:
        lines.append(Text(f"    … and {len(found) - 12:,} more reasons in cells.arrow", "dim"))
    lines.append(Text())
    return Group(*lines)
