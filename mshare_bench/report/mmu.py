"""TLB misses and page walks by mechanism, of the scene whose page tables cost most; and what sharing tables does to them.

walks(cells) -> list[Walks]              a row per mechanism and MMU; empty where no row has them
consolidation(cells) -> str | None       in a sentence: what shared tables leave as it is, and what they cut
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from mshare_bench.report import words
from mshare_bench.results.columns import indices, known
from mshare_bench.results.savings import BASELINE

__all__ = ["Walks", "consolidation", "print_walks", "walks", "walks_table"]

_COLUMNS = (
    "baseline_point", "mechanism", "variant", "page_bytes", "engine", "mmu", "status", "tlb_misses", "walk_cycles",
    "page_table_bytes", "basis",
)  # fmt: skip
_HEAD = ("mechanism", "MMU", "TLB misses", "cycles in walks", "per miss", "against shmem")
_MOST = 60
_SHARES_TABLES = "mshare"


@dataclass(frozen=True, slots=True)
class Walks:
    """What one mechanism's touch phase costs in TLB misses and page walks, over all processes.

    Attributes
    ----------
    mmu
        The MMU and its settings for a prediction; `measured` for this machine's counters.
    walk_cycles
        None where they are not known.
    against
        `walk_cycles` over those of `shmem` under the same MMU, None where there are none.
    """

    mechanism: str
    mmu: str
    page_bytes: int
    tlb_misses: float
    walk_cycles: float | None
    against: float | None
    sampled: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """The row as it is printed."""
        per_miss = None if self.walk_cycles is None or not self.tlb_misses else self.walk_cycles / self.tlb_misses
        return (
            self.mechanism,
            self.mmu,
            ("~" if self.sampled else "") + words.count(self.tlb_misses),
            ("~" if self.sampled else "") + words.count(self.walk_cycles),
            words.DASH if per_miss is None else f"{per_miss:.1f}",
            words.DASH if self.against is None else words.percent(self.against, 1),
        )


def walks(cells: pa.Table) -> list[Walks]:
    """Rows of the costliest scene that have TLB misses: by MMU, `shmem` first, then by cycles in walks, most first."""
    if "mmu" not in cells.column_names:
        return []
    having = cells.take(indices(np.flatnonzero(known(cells["tlb_misses"]))))
    rows = [row for row in having.select(list(_COLUMNS)).to_pylist() if row["status"] == "ok"]
    if not rows:
        return []
    at = max(rows, key=lambda row: (row["mechanism"] == BASELINE, row["page_table_bytes"] or 0))["baseline_point"]
    rows = [row for row in rows if row["baseline_point"] == at]
    base = {_mmu(row): row["walk_cycles"] for row in rows if row["mechanism"] == BASELINE}
    made = {
        (row["mechanism"], row["variant"], row["page_bytes"], _mmu(row)): _walks(row, base.get(_mmu(row)))
        for row in rows
    }
    return sorted(
        made.values(), key=lambda one: (one.mmu, one.mechanism != BASELINE, -(one.walk_cycles or 0), one.mechanism)
    )


def consolidation(cells: pa.Table) -> str | None:
    """Say what sharing tables does under one MMU; None where no row tells."""
    rows = walks(cells)
    plain = {row.mmu: row for row in rows if row.mechanism == BASELINE and row.walk_cycles}
    for row in rows:
        base = plain.get(row.mmu)
        if base is None or row.mechanism != _SHARES_TABLES or row.page_bytes != base.page_bytes or not row.walk_cycles:
            continue
        cut = 1 - row.walk_cycles / (base.walk_cycles or 1)
        kept = row.tlb_misses / base.tlb_misses
        misses = "leaves TLB misses as they are" if kept == 1 else f"leaves {words.percent(kept, 1)} of the TLB misses"
        why = (
            "each process still misses for itself; what is shared is the cache lines that page-table entries lie in"
            if kept == 1
            else "those who share tables share TLB entries too"
        )
        change = (
            f"cuts the cycles in page walks by {words.percent(cut, 1)}" if cut > 0 else "cuts no cycles of page walks"
        )
        return f"Sharing tables ({row.mechanism}, {row.mmu}) {misses} and {change}: {why}."
    return None


def print_walks(cells: pa.Table, console: Console) -> None:
    """Print the rows and the sentence, where there are any."""
    rows = walks(cells)
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for index, title in enumerate(_HEAD):
        table.add_column(title, justify="left" if index < 2 else "right", no_wrap=index != 1, overflow="fold")
    for row in rows[:_MOST]:
        table.add_row(*row.texts)
    console.print(table)
    if any(row.sampled for row in rows[:_MOST]):
        console.print("[dim]~ scaled up from the processes and accesses that were simulated[/dim]", highlight=False)
    sentence = consolidation(cells)
    if sentence:
        console.print(sentence, highlight=False)
    console.print()


def walks_table(cells: pa.Table) -> str:
    """The rows and the sentence as a section of the HTML report; empty where there are none."""
    rows = walks(cells)
    if not rows:
        return ""
    head = "".join(f"<th>{escape(title)}</th>" for title in _HEAD)
    body = "\n".join(f"<tr>{_cells(row.texts)}</tr>" for row in rows[:_MOST])
    caption = "Over all processes while they touch, in the scene whose page tables cost most."
    if any(row.sampled for row in rows):
        caption += " Marked with ~: scaled up from the processes and accesses that were simulated."
    sentence = consolidation(cells)
    said = f"<p>{escape(sentence)}</p>\n" if sentence else ""
    return (
        f'<section class="long">\n<h2>TLB misses and page walks</h2>\n<p>{escape(caption)}</p>\n{said}'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table></div></section>'
    )


def _walks(row: Mapping[str, Any], base: float | None) -> Walks:
    name = " ".join(part for part in (row["mechanism"], row["variant"]) if part)
    cycles = row["walk_cycles"]
    against = None if cycles is None or not base else cycles / base
    return Walks(
        name, _mmu(row), row["page_bytes"], row["tlb_misses"], cycles, against, "sampled" in (row["basis"] or "")
    )


def _mmu(row: Mapping[str, Any]) -> str:
    return str(row["mmu"] or "") if row["engine"] == "sim" else "measured"


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)
