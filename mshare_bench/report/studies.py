"""Studies that ask something else than what page tables cost: each has a question, an answer, a table and a figure of its own.

study_of(tables) -> Study or None       by what a store holds: a fleet's day, moves, or cells that were placed in several ways
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TABLES", "Study", "study_of", "study_table"]

TABLES = ("cells", "nodes", "migrations", "fleet")
"""Tables of a store that a study is made of."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a study says.

    Attributes
    ----------
    name
        Of its figure.
    question, answer
        A sentence each.
    title, caption
        Of figure and table.
    head, rows
        The table, as people read it; a row of one cell is a heading.
    notes
        Lines below it.
    draw
        Draws the figure; takes the colour of each mechanism.
    """

    name: str
    question: str
    answer: str
    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    draw: Callable[[Mapping[str, str]], "Figure"]


def study_of(tables: Mapping[str, pa.Table]) -> Study | None:
    """Find the study that a store's tables belong to; None where its question is what page tables cost."""
    from mshare_bench.report.epochs import epochs_study
    from mshare_bench.report.fleet import fleet_study
    from mshare_bench.report.moves import moves_study
    from mshare_bench.report.places import places_study

    for make in (fleet_study, epochs_study, moves_study, places_study):
        found = make(tables)
        if found is not None:
            return found
    return None


def study_table(study: Study) -> str:
    """Write a study's table in HTML."""
    head = "".join(f"<th>{escape(one)}</th>" for one in study.head)
    body = "\n".join(_row(row, len(study.head)) for row in study.rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in study.notes)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{notes}'


def _row(row: Sequence[str], columns: int) -> str:
    if len(row) == 1:
        return f'<tr class="scene"><th colspan="{columns}">{escape(row[0])}</th></tr>'
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
