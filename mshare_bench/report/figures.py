"""Figures, drawn with matplotlib: SVG for the report, PNG for everywhere else.

`figures(cells, colors)` draws what the cells allow; `svg(figure, name, colors)` gives inline SVG with CSS variables for colours;
`write_figures(figures, folder)` writes PNG files.
"""

import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.palette import DASHES, GRID, INK, MARKERS, MUTED, PAPER, palette, themed
from mshare_bench.report.selection import BreakEven, Grid, Panel, attach_and_touch, break_even, panels, savings_grids
from mshare_bench.results.savings import BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["STYLE", "figures", "new_figure", "plain", "scale_axis", "svg", "write_figures"]

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "mshare-bench",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
"""Parameters of matplotlib for every figure."""


def figures(
    cells: pa.Table, colors: Mapping[str, str] | None = None, crossings: Sequence[BreakEven] | None = None
) -> dict[str, "Figure"]:
    """Draw what the cells allow, by name: `page_tables`, `time`, `savings`, `break_even`.

    Parameters
    ----------
    cells
        Rows of `cells`, savings filled.
    colors
        Colour of each mechanism; those left out get one.
    crossings
        What `break_even` gives, where it is known already.
    """
    import matplotlib as mpl

    mechanisms = sorted(name for name in cells["mechanism"].unique().to_pylist() if name)
    chosen = palette(mechanisms, colors)
    made: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        if found := panels(cells):
            made["page_tables"] = _drawn(found, chosen, "page tables", "bytes")
        if found := panels(cells, value=attach_and_touch):
            made["time"] = _drawn(found, chosen, "time per process", "time")
        if grids := savings_grids(cells):
            made["savings"] = _savings(grids)
        found_crossings = break_even(cells) if crossings is None else crossings
        crossing = [one for one in found_crossings if one.processes is not None]
        if len({one.region_bytes for one in crossing}) > 1:
            made["break_even"] = _break_even(crossing, chosen)
    return made


def svg(figure: "Figure", name: str, chosen: Mapping[str, str]) -> str:
    """Give a figure as SVG to stand in an HTML page: ids of its own, colours as CSS variables, no size but its proportions."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    figure.set_layout_engine("none")  # the places stay as they are; working them out takes half the time of drawing
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = re.sub(
        r'<svg[^>]*viewBox="([^"]*)"[^>]*>', rf'<svg class="figure" viewBox="\1" role="img" {_XLINK}>', text, count=1
    )
    text = re.sub(r"font: ([^;]*?)(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    return themed(text, chosen)


_XLINK = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def plain(figure: "Figure") -> "Figure":
    """Give a figure plain colours on white instead of the stand-ins, for PNG and notebooks; it is changed in place."""
    from matplotlib.colors import to_rgb

    for artist in figure.findobj():
        for kind in ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor"):
            get, put = getattr(artist, f"get_{kind}", None), getattr(artist, f"set_{kind}", None)
            if get is None or put is None:
                continue
            for stand_in, color in _PLAIN.items():
                if _same(get(), to_rgb(stand_in)):
                    put(color)
    figure.set_facecolor(_PLAIN[PAPER])
    return figure


_PLAIN = {INK: "#1b1f24", MUTED: "#57606a", GRID: "#d8dee4", PAPER: "#ffffff"}


def write_figures(made: Mapping[str, "Figure"], folder: Path) -> list[Path]:
    """Write figures as PNG on white into a folder; gives their paths. They are `plain` afterwards."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in made.items():
        path = folder / f"{name}.png"
        with mpl.rc_context(STYLE):
            plain(figure).savefig(path, dpi=160, facecolor=_PLAIN[PAPER], metadata={"Software": None})
        paths.append(path)
    return paths


def _same(value: Any, color: tuple[float, float, float]) -> bool:
    from matplotlib.colors import to_rgb

    try:
        return bool(to_rgb(value) == color)
    except (ValueError, TypeError):
        return False


def new_figure(width: float, height: float, columns: int, **options: Any) -> tuple["Figure", list["Axes"]]:
    """Make an empty figure, inches wide and high, with its axes side by side; to be called with `STYLE` in force."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def _drawn(found: Sequence[Panel], chosen: Mapping[str, str], title: str, kind: str) -> "Figure":
    """Curves, or dots where there is but one place on the axis."""
    places = {x for panel in found for line in panel.lines for x, _ in line.points}
    return (_curves if len(places) > 1 else _dots)(found, chosen, title, kind)


def _dots(found: Sequence[Panel], chosen: Mapping[str, str], title: str, kind: str) -> "Figure":
    """A row for each mechanism, the largest first: an open mark is predicted, a filled one measured, its value beside it."""
    labels = sorted({line.label for panel in found for line in panel.lines}, key=lambda label: _first(found, label))
    figure, axes = new_figure(9.6, 1.1 + 0.3 * len(labels), len(found), sharey=True)
    show = {"bytes": words.size, "time": words.duration}[kind]
    for axis, panel in zip(axes, found, strict=True):
        for line in sorted(panel.lines, key=lambda line: line.engine):
            (_, value), row = line.points[-1], labels.index(line.label)
            color, real = chosen[line.mechanism], line.engine != "sim"
            axis.plot(
                [value], [row], linestyle="none", marker="o", markersize=7 if real else 9, color=color, markeredgewidth=1.4,
                markerfacecolor=color if real else PAPER, zorder=4 if real else 3,
            )  # fmt: skip
            if real or not any(one.label == line.label and one.engine != "sim" for one in panel.lines):
                axis.annotate(
                    show(value), (value, row), (9, 0), textcoords="offset points", va="center", color=INK, fontsize=8.5
                )
        axis.set_xscale("log", base=2 if kind == "bytes" else 10)
        low, high = axis.get_xlim()
        axis.set_xlim(low, high * (high / low) ** 0.18)  # room for the values
        scale_axis(axis.xaxis, kind)
        axis.set_ylim(-0.6, len(labels) - 0.4)
        axis.set_yticks(range(len(labels)), labels)
        axis.grid(visible=True, axis="both")
        x = panel.lines[0].points[0][0]
        at = f"{words.count(x)} process{'es' if x != 1 else ''}" if panel.x == "processes" else words.size(x)
        axis.set_title(f"{at} · {panel.title}", color=INK)
        axis.set_xlabel(title)
    for tick, label in zip(axes[0].get_yticklabels(), labels, strict=True):
        tick.set_color(chosen[label.split(" ", maxsplit=1)[0]])
        tick.set_fontweight("bold")
    return figure


def _first(found: Sequence[Panel], label: str) -> tuple[float, str]:
    values = [line.points[-1][1] for panel in found for line in panel.lines if line.label == label]
    return max(values), label


def _curves(found: Sequence[Panel], chosen: Mapping[str, str], title: str, kind: str) -> "Figure":
    """One line per mechanism over log-log axes, what was measured as filled points over it."""
    figure, axes = new_figure(9.6, 4.4 if len(found) == 1 else 3.9, len(found), sharey=True)
    labels = sorted(
        {line.label for panel in found for line in panel.lines}, key=lambda label: (label != BASELINE, label)
    )
    for number, (axis, panel) in enumerate(zip(axes, found, strict=True)):
        ends: dict[str, tuple[float, float, str]] = {}
        for line in panel.lines:
            style = labels.index(line.label)
            color = chosen[line.mechanism]
            x, y = zip(*line.points, strict=True)
            above = 3 + {BASELINE: 0.3, "mshare": 0.6}.get(line.mechanism, 0)  # others often lie on the same line
            if line.engine == "sim":
                marker = MARKERS[style % len(MARKERS)] if len(x) <= 12 else ""
                axis.plot(
                    x, y, color=color, linestyle=DASHES[style % len(DASHES)], linewidth=1.7, marker=marker, markersize=4.5,
                    markerfacecolor=PAPER, markeredgewidth=1.2, zorder=above,
                )  # fmt: skip
            else:
                axis.plot(
                    x, y, color=color, linestyle="none", marker=MARKERS[style % len(MARKERS)], markersize=7,
                    markeredgecolor=PAPER, markeredgewidth=0.8, zorder=above + 2,
                )  # fmt: skip
            if line.label not in ends or x[-1] >= ends[line.label][0]:
                ends[line.label] = (x[-1], y[-1], color)
        axis.set_xscale("log")
        axis.set_yscale("log", base=2 if kind == "bytes" else 10)
        scale_axis(axis.xaxis, "processes" if panel.x == "processes" else "bytes")
        scale_axis(axis.yaxis, kind)
        axis.grid(visible=True)
        axis.set_title(panel.title, color=INK)
        axis.set_xlabel("processes" if panel.x == "processes" else "region")
        if number == 0:
            axis.set_ylabel(title)
        if number == len(found) - 1:
            _label_ends(axis, ends)
            continue
        later = {line.label for panel in found[number + 1 :] for line in panel.lines}
        for label, (last, value, color) in ends.items():
            if label not in later:  # or it would have no name anywhere
                axis.annotate(
                    label, (last, value), (-2, 5), textcoords="offset points", ha="right", color=color, fontsize=9,
                    fontweight="bold",
                )  # fmt: skip
    return figure


def scale_axis(axis: Any, kind: str) -> None:
    """Ticks as people say them: powers of two for bytes, of ten for processes and times (ns), seven at most."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axis.get_view_interval()
    base = 2 if kind == "bytes" else 10
    first, last = math.ceil(math.log(max(low, 1e-9), base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
    step = 1 if base == 10 else 2
    while (last - first) // step > 7:
        step += 1 if base == 10 else 1 if step % 5 else 5
    ticks = [float(base) ** power for power in range(first, last + 1) if base == 10 or (power - 10) % step == 0]
    if len(ticks) < 2:
        lines = axis.axes.get_lines()
        data = sorted(
            {float(one) for line in lines for one in (line.get_xdata() if axis.axis_name == "x" else line.get_ydata())}
        )
        ticks = data if len(data) <= 6 else data[:: len(data) // 5]
    show = {"processes": words.count, "bytes": words.size, "time": words.duration}[kind]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))


def _label_ends(axis: "Axes", ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each line's name at its right end, apart from one another."""
    low, high = (math.log(one) for one in axis.get_ylim())
    least = 0.062
    places: list[list[Any]] = sorted(
        [[(math.log(y) - low) / (high - low), label, color] for label, (_, y, color) in ends.items()],
        key=lambda one: (round(one[0], 3), one[1] == BASELINE),
    )
    wanted = [one[0] for one in places]
    least = min(least, 1 / max(1, len(places) - 1))
    for _ in range(200):  # push neighbours apart until all are legible
        moved = False
        for lower, upper in itertools.pairwise(places):
            gap = upper[0] - lower[0]
            if gap < least - 1e-6:
                lower[0] -= (least - gap) / 2
                upper[0] += (least - gap) / 2
                moved = True
        for end, limit in ((0, 0.0), (-1, 1.0)):
            if places and (places[end][0] < limit if end == 0 else places[end][0] > limit):
                places[end][0], moved = limit, True
        if not moved:
            break
    shrink = {"shrinkA": 1, "shrinkB": 1}
    for (place, label, color), at in zip(places, wanted, strict=True):
        axis.annotate(
            label, (1.0, at), (1.035, place), xycoords="axes fraction", textcoords="axes fraction", color=color, va="center",
            fontsize=9, fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5), **shrink},
        )  # fmt: skip


def _savings(grids: Sequence[Grid]) -> "Figure":
    """One map per mechanism: bytes saved by colour on one logarithmic scale, the share in the field where there is room."""
    import numpy as np
    from matplotlib.colors import LogNorm

    figure, axes = new_figure(9.6, 3.6 if len(grids) > 1 else 4.2, len(grids), sharey=True)
    values = [one for grid in grids for row in grid.saved for one in row if one is not None and one > 0]
    norm = LogNorm(min(values, default=1), max(max(values, default=2), 2 * min(values, default=1)))
    image = None
    for axis, grid in zip(axes, grids, strict=True):
        data = np.array([[np.nan if one is None or one <= 0 else one for one in row] for row in grid.saved], float)
        image = axis.imshow(data, origin="lower", aspect="auto", cmap="viridis", norm=norm, interpolation="nearest")
        _ticks(axis.xaxis, [words.count(one) for one in grid.processes], 6 if len(grids) < 3 else 4)
        _ticks(axis.yaxis, [words.size(one) for one in grid.regions], 9)
        axis.tick_params(length=0)
        axis.set_title(grid.label, color=INK)
        axis.set_xlabel("processes")
        for spine in axis.spines.values():
            spine.set_visible(False)
        if len(grid.processes) * len(grids) <= 20 and len(grid.regions) <= 10:
            _write_shares(axis, grid, norm)
    axes[0].set_ylabel("region")
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.015, aspect=30)
        bar.outline.set_visible(False)
        scale_axis(bar.ax.yaxis, "bytes")
        bar.set_label("page tables saved against shmem")
    return figure


def _write_shares(axis: "Axes", grid: Grid, norm: Any) -> None:
    for row, (saved, shares) in enumerate(zip(grid.saved, grid.share, strict=True)):
        for column, (value, share) in enumerate(zip(saved, shares, strict=True)):
            if value is None or share is None:
                continue
            light = value > 0 and norm(value) > 0.55
            text = words.percent(share, 0 if abs(share) < 0.99 else 1) if value else "0"
            color = "#16191d" if light else "#f4f6f8" if value > 0 else MUTED
            axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color)


def _ticks(axis: Any, labels: Sequence[str], most: int) -> None:
    step = -(-(len(labels) - 1) // max(1, most - 1)) or 1
    chosen = range(0, len(labels), step)
    axis.set_ticks(chosen, [labels[index] for index in chosen])


def _break_even(found: Sequence[BreakEven], chosen: Mapping[str, str]) -> "Figure":
    """From how many processes on mshare is ahead, over size: a panel for bytes and one for time."""
    measures = [name for name in ("page tables", "time") if any(one.measure == name for one in found)]
    figure, axes = new_figure(9.6, 3.4, len(measures), sharey=True)
    labels = sorted({one.loser for one in found})
    for axis, measure in zip(axes, measures, strict=True):
        for label in labels:
            points = sorted(
                (one.region_bytes, one.processes)
                for one in found
                if one.measure == measure and one.loser == label and one.processes
            )
            if points:
                x, y = zip(*points, strict=True)
                style = labels.index(label)
                axis.plot(
                    x, y, color=chosen[label.split()[0]], linestyle=DASHES[style % len(DASHES)], linewidth=1.7,
                    marker=MARKERS[style % len(MARKERS)], markersize=5, markerfacecolor=PAPER, label=label,
                )  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        scale_axis(axis.xaxis, "bytes")
        scale_axis(axis.yaxis, "processes")
        axis.grid(visible=True)
        axis.set_title(f"in {measure}" if measure == "page tables" else "in time to attach and touch", color=INK)
        axis.set_xlabel("region")
        axis.legend(title="mshare beats", frameon=False, labelcolor=INK, fontsize=8.5, title_fontsize=8.5, loc="best")
    axes[0].set_ylabel("from so many processes on")
    return figure
