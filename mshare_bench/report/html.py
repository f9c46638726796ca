"""The report: one HTML file that needs nothing else, for the screen (light or dark) and for paper.

    write_report(store, path=None, colors=None) -> Path        `report.html` in the store's folder by default

It says the question and the answer in a sentence, shows page tables and times over processes, the savings, where mshare breaks
even, the table, what has no result and why, and the environment.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.advice import advice_section
from mshare_bench.report.answer import answer, situation
from mshare_bench.report.applications import applications_section
from mshare_bench.report.facts import break_even_table, command, environment_table, missing_table
from mshare_bench.report.figures import figures, svg, write_figures
from mshare_bench.report.mmu import walks_table
from mshare_bench.report.pairs import Scene, checked, costliest, missing
from mshare_bench.report.palette import palette, variables
from mshare_bench.report.selection import BreakEven, break_even
from mshare_bench.report.studies import TABLES, Study, study_of, study_table
from mshare_bench.report.style import style_sheet
from mshare_bench.report.table import results_table
from mshare_bench.results.files import atomic
from mshare_bench.results.savings import BASELINE
from mshare_bench.results.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_report", "write_report"]

_CAPTIONS = {
    "page_tables": (
        "Page tables",
        "What page tables cost all processes together. Lines and open marks are predicted, filled marks are measured on the "
        "running kernel; both axes are logarithmic.",
    ),
    "time": (
        "Time",
        "Attaching and touching, per process at the median. Lines and open marks are predicted, filled marks are measured; both "
        "axes are logarithmic.",
    ),
    "savings": (
        "What is saved",
        "Page tables saved against shmem, by number of processes and size. In an empty field nothing is saved; a number in a "
        "field is the share.",
    ),
    "break_even": (
        "Break-even",
        "The number of processes, of those swept, from which on mshare is ahead of each other mechanism. Where a line is "
        "missing, it is ahead nowhere.",
    ),
}


def write_report(store: Store, path: Path | None = None, colors: Mapping[str, str] | None = None) -> Path:
    """Write the report of a store.

    Parameters
    ----------
    store
        Open or not for writing.
    path
        Where to; by default `report.html` in the store's folder, and its figures as PNG in `figures/` beside it.
    colors
        Colour of each mechanism, `#rrggbb`; those left out get one.

    Raises
    ------
    OSError
        When it can't be written.
    """
    cells = store.table("cells")
    crossings = break_even(cells)
    study = study_of({name: store.table(name) for name in TABLES})
    made = _figures(cells, study, colors, crossings)
    target = path or store.path / "report.html"
    with atomic(target) as file:
        file.write(_render(store, cells, made, crossings, study, colors).encode())
    if path is None:
        write_figures(made, store.path / "figures")
    return target


def render_report(store: Store, colors: Mapping[str, str] | None = None) -> str:
    """Make the report as one HTML document."""
    cells = store.table("cells")
    crossings = break_even(cells)
    study = study_of({name: store.table(name) for name in TABLES})
    return _render(store, cells, _figures(cells, study, colors, crossings), crossings, study, colors)


def _figures(
    cells: pa.Table, study: Study | None, colors: Mapping[str, str] | None, crossings: Sequence[BreakEven]
) -> dict[str, "Figure"]:
    """A study's own figure first; of its cells no curve over processes is drawn, which it does not ask for."""
    chosen = _palette(cells, colors)
    return figures(cells, chosen, crossings) if study is None else {study.name: study.draw(chosen)}


def _palette(cells: pa.Table, colors: Mapping[str, str] | None) -> dict[str, str]:
    return palette(sorted(name for name in cells["mechanism"].unique().to_pylist() if name), colors)


def _render(
    store: Store,
    cells: pa.Table,
    made: Mapping[str, "Figure"],
    crossings: Sequence[BreakEven],
    study: Study | None,
    colors: Mapping[str, str] | None,
) -> str:
    chosen = _palette(cells, colors)
    scene = costliest(cells)
    drawn = {name: svg(figure, name, chosen) for name, figure in made.items()}
    if study is not None:
        parts = [_header(store, study.question, study.answer)]
        parts.append(_section(study.title, study.caption, drawn.pop(study.name) + study_table(study), "long"))
    else:
        parts = [_header(store, _question(scene), answer(cells)), _tiles(scene, checked(cells))]
    several = len(cells["workload"].unique()) > 1
    workload = f" Workload: {scene.coordinates['workload']}." if scene is not None and several else ""
    for name, picture in drawn.items():
        title, caption = _CAPTIONS[name]
        caption += workload if name in ("savings", "break_even") else ""
        below = break_even_table(crossings) if name == "break_even" else ""
        parts.append(_section(title, caption, picture + below))
    if study is None and "break_even" not in drawn and (table := break_even_table(crossings)):
        caption = f"From how many processes on, of those swept, mshare is ahead.{workload}"
        parts.append(_section("Break-even", caption, table))
    parts += [walks_table(cells), results_table(cells)]
    parts.append(missing_table(missing(cells)))
    parts.append(applications_section(cells, store.table("figures")))
    parts.append(environment_table(store.table("environments"), store.info.config))
    parts.append(advice_section(scene))
    parts.append(_footer(store, cells))
    style = style_sheet(variables(chosen, dark=False), variables(chosen, dark=True))
    return _PAGE.format(
        title=escape(f"{store.info.name} · mshare-bench"), style=style, body="\n".join(filter(None, parts))
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _section(title: str, caption: str, content: str, kind: str = "") -> str:
    return f'<section class="{kind}">\n<h2>{escape(title)}</h2>\n<p>{escape(caption)}</p>\n{content}\n</section>'


def _question(scene: Scene | None) -> str:
    if scene is None:
        return "What do page tables cost, and what does sharing them leave?"
    share = "do" if scene.processes != 1 else "does"
    return f"What {share} {situation(scene)} spend on page tables, and what does each way of sharing leave of it?"


def _header(store: Store, question: str, sentence: str) -> str:
    when = store.info.created.replace("T", " ").replace("+00:00", " UTC")
    kicker = " · ".join(part for part in ("mshare-bench", store.info.name, when) if part)
    return (
        f'<p class="kicker">{escape(kicker)}</p>\n<h1>{escape(question)}</h1>\n<p class="answer">{escape(sentence)}</p>'
    )


def _tiles(scene: Scene | None, both: Sequence[Scene]) -> str:
    if scene is None:
        return ""
    known = [pair for pair in scene.pairs if pair.best["page_table_bytes"] is not None]
    wanted = [pair for name in (BASELINE, "hugetlb", "mshare") for pair in known if pair.mechanism == name][:3]
    tiles = []
    for pair in wanted or known[:3]:
        kind = "measured" if pair.measured else "predicted"
        name, details = scene.label(pair)
        said = f"page tables with {name}{f' ({details})' if details else ''}, {kind}"
        tiles.append(_tile(words.size(pair.best["page_table_bytes"]), said, f"var(--m-{name.replace('_', '-')})"))
    ratios = [pair.ratio for one in both for pair in one.pairs if pair.ratio is not None]
    if ratios:
        low, high = words.ratio(min(ratios)), words.ratio(max(ratios))
        span = low if low == high else f"{low} – {high}"
        most = max(one.processes for one in both)
        tiles.append(_tile(span, f"measured over predicted, at up to {words.count(most)} processes", "var(--good)"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(figure: str, said: str, color: str) -> str:
    return f'<div class="tile" style="--key: {color}"><b>{escape(figure)}</b><span>{escape(said)}</span></div>'


def _footer(store: Store, cells: pa.Table) -> str:
    counts: dict[str, int] = {}
    for status in cells["status"].to_pylist():
        counts[status] = counts.get(status, 0) + 1
    said = _and(f"{number:,} {status}" for status, number in sorted(counts.items()))
    line = command(store.info.config)
    again = f"<br>Made by <code>{escape(line)}</code>" if line else ""
    return (
        f"<footer>{cells.num_rows:,} rows ({escape(said)}), schema {escape(store.info.schema_version)}; every figure is in "
        f"<code>cells.arrow</code> and the tables beside it.{again}</footer>"
    )


def _and(items: Iterable[str]) -> str:
    return ", ".join(items)
