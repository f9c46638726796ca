"""Strategies from epoch to epoch: what the placements cost, what moves, and what is cheapest in all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mshare_bench.domain.placement import EpochChoice, PlacementChoice
from mshare_bench.report import words
from mshare_bench.report.palette import INK
from mshare_bench.report.studies import Study
from mshare_bench.results.savings import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Planned", "epochs_study"]

_ORDER = ("planned", "never", "greedy")


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell: its strategy, how long its epochs last, and its moves."""

    cell: Mapping[str, Any]
    strategy: str
    seconds: float
    moves: Sequence[Mapping[str, Any]]

    @property
    def label(self) -> str:
        """Mechanism, and its options where they are not as usual."""
        return " ".join(filter(None, (self.cell["mechanism"], self.cell["variant"])))

    @property
    def running_ns(self) -> float:
        """Cost of the placements over all epochs."""
        return float(self.cell["placement_cost_ns"]) * self.seconds

    @property
    def total_ns(self) -> float:
        """Cost of placements and moves."""
        return self.running_ns + float(self.cell["moving_cost_ns"])


def epochs_study(tables: Mapping[str, pa.Table]) -> Study | None:
    """Make the study of strategies; None where no cell has epochs."""
    found = _gather(tables)
    if not found:
        return None
    labels = list(dict.fromkeys(one.label for one in found))
    rows: list[tuple[str, ...]] = []
    for label in labels:
        rows.append((label,))
        for one in (one for one in found if one.label == label):
            moved = sum(row["bytes"] for row in one.moves)
            moving = words.duration(one.cell["moving_cost_ns"])
            rows.append(
                (
                    one.strategy,
                    words.count(len(one.moves)),
                    words.size(moved),
                    moving,
                    words.duration(one.running_ns),
                    words.duration(one.total_ns),
                )
            )
    notes = dict.fromkeys(f"{one.label} {one.strategy}: {row['reason']}" for one in found for row in one.moves)
    at = found[0].cell
    return Study(
        "epochs",
        f"What should move from epoch to epoch, when {words.count(at['processes'])} processes share "
        f"{words.size(at['region_bytes'])} on {at['topology']}?",
        _answer(found),
        "Moves and what they cost",
        f"Epochs: {', '.join(PlacementChoice.parse(at['placement']).epochs)}. Never moves only what must, greedy goes to the "
        "best place of every epoch, planned makes the moves that pay while the load lasts. Costs are CPU time.",
        ("", "moves", "moved", "moving", "placement", "in all"),
        tuple(rows),
        tuple(notes)[:8],
        lambda colors: _figure(found, colors),
    )


def _gather(tables: Mapping[str, pa.Table]) -> list[Planned]:
    if "migrations" not in tables or not any(
        (one or "").startswith("epochs;") for one in tables["cells"]["placement"].unique().to_pylist()
    ):
        return []
    moves: dict[str, list[dict[str, Any]]] = {}
    for row in tables["migrations"].to_pylist():
        moves.setdefault(row["cell"], []).append(row)
    found = []
    for cell in tables["cells"].to_pylist():
        if cell["status"] == "ok" and cell["placement"].startswith("epochs;"):
            choice = PlacementChoice.parse(cell["placement"])
            seconds = sum(EpochChoice.parse(text).seconds for text in choice.epochs)
            found.append(Planned(cell, choice.strategy, seconds, moves.get(cell["cell"], [])))
    return sorted(found, key=lambda one: (one.label != BASELINE, one.label, _ORDER.index(one.strategy)))


def _answer(found: Sequence[Planned]) -> str:
    parts = []
    for label in dict.fromkeys(one.label for one in found):
        by_name = {one.strategy: one for one in found if one.label == label}
        planned = by_name.get("planned")
        if planned is None:
            continue
        others = [
            f"{words.duration(one.total_ns)} when {name} moving{'' if name == 'never' else ' greedily'}".replace(
                "greedy moving greedily", "always moving to the best place"
            )
            for name, one in by_name.items()
            if name != "planned"
        ]
        against = f" instead of {' and '.join(others)}" if others else ""
        parts.append(
            f"{label} costs {words.duration(planned.total_ns)} with {len(planned.moves):,} planned moves{against}"
        )
    if not parts:
        one = min(found, key=lambda one: one.total_ns)
        parts = [f"{one.label} costs {words.duration(one.total_ns)} with the strategy {one.strategy}"]
    return f"Over {words.duration(found[0].seconds * 1e9)}, {'; '.join(parts)} (predicted)."


def _figure(found: Sequence[Planned], colors: Mapping[str, str]) -> "Figure":
    """A bar per strategy: what the placements cost above the cheapest, and the moves on top."""
    import matplotlib as mpl

    from mshare_bench.report.figures import STYLE, new_figure

    labels = list(dict.fromkeys(one.label for one in found))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(9.6, 3.4, len(labels))
        for axis, label in zip(axes, labels, strict=True):
            own = [one for one in found if one.label == label]
            least = min(one.running_ns for one in own)
            names = [one.strategy for one in own]
            over = [(one.running_ns - least) / 1e9 for one in own]
            moving = [float(one.cell["moving_cost_ns"]) / 1e9 for one in own]
            color = colors[own[0].cell["mechanism"]]
            axis.bar(names, over, color=color, alpha=0.45, label="placement above the cheapest")
            axis.bar(names, moving, bottom=over, color=color, label="moving")
            axis.set_title(label, color=INK)
            axis.set_ylabel("CPU seconds")
            axis.grid(visible=True, axis="y")
            axis.legend(frameon=False, labelcolor=INK, fontsize=8.5)
    return figure
