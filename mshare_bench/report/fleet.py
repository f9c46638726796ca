"""A fleet's day: machines and memory in use hour by hour, and what sharing page tables saves of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.palette import DASHES, INK
from mshare_bench.report.studies import Study
from mshare_bench.results.savings import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Day", "days_of", "fleet_study"]


@dataclass(frozen=True, slots=True)
class Day:
    """One mechanism's day: rows of `fleet` in order, and its cell's row."""

    cell: Mapping[str, Any]
    slots: tuple[Mapping[str, Any], ...]

    @property
    def label(self) -> str:
        """Mechanism, and its options where they are not as usual."""
        return " ".join(filter(None, (self.cell["mechanism"], self.cell["variant"])))

    @property
    def machines(self) -> int:
        """Machines at the busiest moment."""
        return max(int(slot["machines"]) for slot in self.slots)

    @property
    def machine_hours(self) -> float:
        """Hours of a machine in use over the day."""
        return float(sum(slot["machines"] for slot in self.slots)) * 24 / len(self.slots)

    @property
    def memory(self) -> float:
        """Bytes in use on average, data and tables."""
        return float(sum(slot["data_bytes"] + slot["page_table_bytes"] for slot in self.slots)) / len(self.slots)

    def total(self, column: str) -> int:
        """Sum over the day."""
        return int(sum(slot[column] for slot in self.slots))


def days_of(tables: Mapping[str, pa.Table]) -> list[Day]:
    """Gather the days of a store, the baseline first."""
    if "fleet" not in tables or not tables["fleet"].num_rows:
        return []
    slots: dict[str, list[dict[str, Any]]] = {}
    for row in tables["fleet"].to_pylist():
        slots.setdefault(row["cell"], []).append(row)
    cells = {row["cell"]: row for row in tables["cells"].to_pylist() if row["status"] == "ok"}
    days = [
        Day(cells[cell], tuple(sorted(rows, key=lambda row: row["slot"])))
        for cell, rows in slots.items()
        if cell in cells
    ]
    return sorted(days, key=lambda day: (day.cell["mechanism"] != BASELINE, -day.machine_hours, day.label))


def fleet_study(tables: Mapping[str, pa.Table]) -> Study | None:
    """Make the study of a fleet's day; None where there is none."""
    days = days_of(tables)
    if not days:
        return None
    head = ("", "machines", "machine hours", "memory", "page tables", "moves", "moved", "turned away")
    rows = tuple(
        (
            day.label,
            words.count(day.machines),
            words.count(day.machine_hours),
            words.size(day.memory),
            words.size(max(slot["page_table_bytes"] for slot in day.slots)),
            words.count(day.total("moves")),
            words.size(day.total("moved_bytes")),
            words.count(day.total("rejected")),
        )
        for day in days
    )
    cell = days[0].cell
    return Study(
        "fleet",
        f"What does sharing page tables save a fleet ({cell['topology']}) over a day?",
        _answer(days),
        "A day of the fleet",
        "Machines that run something and page tables of shared memory in use, through the day. Groups of processes arrive, run "
        "and leave; every hour the emptiest machines are emptied if their groups fit elsewhere. Machines and page tables in the "
        "table are those of the busiest moment, memory is the day's mean.",
        head,
        rows,
        (),
        lambda colors: _figure(days, colors),
    )


def _answer(days: list[Day]) -> str:
    base = next((day for day in days if day.cell["mechanism"] == BASELINE), None)
    ours = next((day for day in days if day.cell["mechanism"] == "mshare"), days[-1])
    if base is None or base is ours:
        return f"With {ours.label} the fleet runs on {ours.machines:,} machines at the busiest moment (predicted)."
    less, hours = base.memory - ours.memory, base.machine_hours - ours.machine_hours
    unlike = base.total("rejected") or ours.total("rejected")
    turned = f"; {base.total('rejected'):,} and {ours.total('rejected'):,} groups were turned away" if unlike else ""
    share_hours, share = words.percent(hours / base.machine_hours, 1), words.percent(less / base.memory, 1)
    return (
        f"With {ours.label} a day of the same groups takes {ours.machines:,} machines at the busiest moment instead of "
        f"{base.machines:,} with {base.label}, {hours:,.0f} machine hours less ({share_hours}), {words.size(less)} of memory "
        f"less on average ({share}), and {ours.total('moves'):,} moves instead of {base.total('moves'):,}{turned} (predicted)."
    )


def _figure(days: list[Day], colors: Mapping[str, str]) -> "Figure":
    import matplotlib as mpl

    from mshare_bench.report.figures import STYLE, new_figure, scale_axis

    with mpl.rc_context(STYLE):
        figure, axes = new_figure(9.6, 3.8, 2)
        for number, day in enumerate(days):
            style: dict[str, Any] = {
                "color": colors[day.cell["mechanism"]],
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": 1.7,
            }
            hours = [slot["hour"] for slot in day.slots]
            axes[0].plot(hours, [slot["machines"] for slot in day.slots], label=day.label, **style)
            axes[1].plot(hours, [max(slot["page_table_bytes"], 1) for slot in day.slots], label=day.label, **style)
        for axis, title in zip(axes, ("machines in use", "page tables of shared memory"), strict=True):
            axis.set_title(title, color=INK)
            axis.set_xlabel("hour of the day")
            axis.set_xlim(0, 24)
            axis.set_xticks(range(0, 25, 4))
            axis.grid(visible=True)
        axes[0].set_ylim(bottom=0)
        axes[1].set_yscale("log", base=2)
        scale_axis(axes[1].yaxis, "bytes")
        axes[0].legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="lower right")
    return figure
