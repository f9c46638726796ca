"""When it pays to bring memory after its processes: cost, break-even time and advice, over processes and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.palette import INK
from mshare_bench.report.studies import Study
from mshare_bench.results.savings import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MovesOf", "moves_study"]

_WHATS = ("data", "tables", "group")
_MOST_ROWS = 36


@dataclass(frozen=True, slots=True)
class MovesOf:
    """The moves of one cell: `here` by what moves within its machine, `away` to another machine."""

    cell: Mapping[str, Any]
    here: Mapping[str, Mapping[str, Any]]
    away: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """Mechanism, and its options where they are not as usual."""
        return " ".join(filter(None, (self.cell["mechanism"], self.cell["variant"])))

    @property
    def place(self) -> tuple[int, int]:
        """Processes and bytes."""
        return self.cell["processes"], self.cell["region_bytes"]


def moves_study(tables: Mapping[str, pa.Table]) -> Study | None:
    """Make the study of moves; None where there are none."""
    found = _gather(tables)
    if not found:
        return None
    shown = _shown(found)
    head = ("", "data", "pays after", "advice", "tables", "pays after", "advice", "to another machine")
    rows: list[tuple[str, ...]] = []
    for place in dict.fromkeys(one.place for one in shown):
        rows.append((f"{words.count(place[0])} processes x {words.size(place[1])}",))
        rows += [_row(one) for one in shown if one.place == place]
    last = [one for one in shown if one.place == shown[-1].place]
    notes = tuple(f"{one.label}: {one.here[what]['reason']}" for one in last for what in ("data", "tables"))
    return Study(
        "migration",
        "When does it pay to bring memory after processes that now run on another node?",
        _answer(found),
        "Break-even",
        "Time after which moving the data to the node that its processes run on has paid for itself. Moving copies every page, "
        "changes its entry in every set of page tables, and shoots down the TLBs of the CPUs that run a sharer (of all CPUs "
        "with msharefs, which flushes them all); what it saves is the remote part of the reads.",
        head,
        tuple(rows),
        notes,
        lambda _colors: _figure(found),
    )


def _gather(tables: Mapping[str, pa.Table]) -> list[MovesOf]:
    if "migrations" not in tables or not tables["migrations"].num_rows:
        return []
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in tables["migrations"].to_pylist():
        if row["from_machine"] is not None:
            rows.setdefault(row["cell"], []).append(row)
    found = []
    for cell in tables["cells"].to_pylist():
        own = rows.get(cell["cell"], [])
        here = {row["what"]: row for row in own if row["from_machine"] == row["to_machine"]}
        away = next((row for row in own if row["from_machine"] != row["to_machine"]), None)
        if set(_WHATS) <= set(here):
            found.append(MovesOf(cell, here, away))
    return sorted(found, key=lambda one: (one.place, one.cell["mechanism"] != BASELINE, one.label))


def _shown(found: list[MovesOf]) -> list[MovesOf]:
    """Whole scenes, evenly chosen."""
    places = list(dict.fromkeys(one.place for one in found))
    each = max(1, len(found) // len(places))
    wanted = max(1, min(len(places), _MOST_ROWS // each))
    chosen = {places[round(i * (len(places) - 1) / max(1, wanted - 1))] for i in range(wanted)}
    chosen.add(places[-1])
    return [one for one in found if one.place in chosen]


def _row(one: MovesOf) -> tuple[str, ...]:
    parts = [one.label]
    for what in ("data", "tables"):
        row = one.here[what]
        even = row["break_even_ns"]
        parts += [words.duration(row["cost_ns"]), "never" if even is None else words.duration(even), row["advice"]]
    return (*parts, words.duration(one.away["cost_ns"] if one.away else None))


def _answer(found: list[MovesOf]) -> str:
    places = list(dict.fromkeys(one.place for one in found))
    for place in reversed(places):
        by_name = {one.label: one for one in found if one.place == place}
        if BASELINE in by_name and "mshare" in by_name:
            base, ours = by_name[BASELINE].here["data"], by_name["mshare"].here["data"]
            if base["break_even_ns"] and ours["break_even_ns"]:
                factor = base["break_even_ns"] / ours["break_even_ns"]
                way = f"{factor:.3g} times sooner" if factor >= 1 else f"{1 / factor:.3g} times later"
                who = f"{words.count(place[0])} processes that share {words.size(place[1])}"
                return (
                    f"Bringing the data of {who} after them to another node takes "
                    f"{words.duration(base['cost_ns'])} of CPU time with shmem and pays after "
                    f"{words.duration(base['break_even_ns'])} ({base['advice']}); with mshare it takes "
                    f"{words.duration(ours['cost_ns'])} and pays after {words.duration(ours['break_even_ns'])} "
                    f"({ours['advice']}), {way}: one set of page tables changes instead of {words.count(place[0])} (predicted)."
                )
    one = found[-1]
    action, _, why = str(one.here["data"]["reason"]).partition(": ")
    return f"With {one.label} the advice is to {action}: {why} (predicted)."


def _figure(found: list[MovesOf]) -> "Figure":
    """A map per mechanism: break-even time of moving the data, over processes and size."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    from mshare_bench.report.figures import STYLE, new_figure

    labels = list(dict.fromkeys(one.label for one in found))[:4]
    processes, sizes = (sorted({one.place[index] for one in found}) for index in (0, 1))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(9.6, 3.8, len(labels), sharey=True)
        grids = []
        for label in labels:
            grid = np.full((len(sizes), len(processes)), np.nan)
            for one in found:
                even = one.here["data"]["break_even_ns"]
                if one.label == label and even:
                    grid[sizes.index(one.place[1]), processes.index(one.place[0])] = even
            grids.append(grid)
        known = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
        low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 2.0)
        norm = LogNorm(low, max(high, 2 * low))
        image = None
        for axis, label, grid in zip(axes, labels, grids, strict=True):
            image = axis.imshow(grid, origin="lower", aspect="auto", cmap="viridis", norm=norm)
            axis.set_xticks(range(len(processes)), [words.count(one) for one in processes])
            axis.set_yticks(range(len(sizes)), [words.size(one) for one in sizes])
            axis.tick_params(length=0)
            axis.set_title(label, color=INK)
            axis.set_xlabel("processes")
            for row, line in enumerate(grid):
                for column, value in enumerate(line):
                    if np.isfinite(value) and len(processes) * len(labels) <= 20:
                        light = norm(value) > 0.55
                        axis.text(
                            column, row, words.duration(float(value)).replace(" ", "\n"), ha="center", va="center",
                            fontsize=7, color="#16191d" if light else "#f4f6f8",
                        )  # fmt: skip
            for spine in axis.spines.values():
                spine.set_visible(False)
        if image is not None:
            bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.015, aspect=30)
            bar.outline.set_visible(False)
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.duration(value)))
            bar.set_label("moving the data pays after")
    return figure
