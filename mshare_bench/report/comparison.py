"""A comparison in the terminal: what is worse, what is better, what of the environments differs.

print_comparison(comparison, names, threshold=0.0, console=None) -> None
comparison_json(comparison) -> str
"""

import dataclasses
import json
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mshare_bench.report import words
from mshare_bench.results.compare import Comparison, Difference
from mshare_bench.results.stats import FEWEST_BLOCKS

__all__ = ["comparison_json", "print_comparison"]

_MOST = 40
_FEW = 4  # repeats a side; fewer tell nothing by any test
_STYLE = {"worse": "bold red", "better": "green", "unclear": "dim", "same": ""}


def comparison_json(comparison: Comparison) -> str:
    """Write a comparison as one JSON object, every difference in it."""
    return json.dumps(dataclasses.asdict(comparison), allow_nan=False)


def print_comparison(
    comparison: Comparison, names: tuple[str, str], threshold: float = 0.0, console: Console | None = None
) -> None:
    """Print what changed, the worst first, then what of the environments differs, then a sentence.

    Parameters
    ----------
    comparison
        What `compare` found.
    names
        Of the two sides.
    threshold
        Share up to which a change for the worse is let pass, as given to `--fail-if-worse`.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    changed = [one for one in comparison.differences if one.verdict in ("worse", "better")]
    changed.sort(
        key=lambda one: (one.verdict != "worse", -abs(one.change) if one.change is not None else -float("inf"))
    )
    if changed:
        console.print(_table(changed[:_MOST], names, console.width))
        if len(changed) > _MOST:
            console.print(Text(f"  … {len(changed) - _MOST:,} more changes", "dim"))
    if comparison.facts:
        console.print(Text("  Environments differ", "bold"))
        for fact in comparison.facts[:20]:
            line = Text(f"    {fact.kind} {fact.key}: ", "dim")
            line.append(f"{fact.first or words.DASH} → {fact.second or words.DASH}", "default")
            console.print(line, soft_wrap=True)
        console.print()
    console.print(Text(_sentence(comparison, threshold), "bold"))


def _table(rows: Sequence[Difference], names: tuple[str, str], width: int) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    table.add_column("cell", overflow="fold", ratio=None)
    table.add_column("figure", overflow="fold")
    for title in (*names, "change"):
        table.add_column(_short(title), justify="right", no_wrap=True)
    if width >= 100:
        table.add_column("95 % interval", justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
    for one in rows:
        at = one.cell
        options = f" {at['variant']}" if at["variant"] else ""
        size = words.size(at["region_bytes"]).replace(" ", "")
        cell = f"{at['mechanism']}{options} {at['engine']} {words.count(at['processes'])}×{size}"
        if at["workload"] != "region":
            cell = f"{at['workload']}: {cell}"
        values = (_shown(one.first, one.unit), _shown(one.second, one.unit))
        change = Text(_change(one.change), _STYLE[one.verdict])
        more = [_interval(one), words.DASH if one.p is None else f"{one.p:.2g}"] if width >= 100 else []
        figure = one.column.removesuffix("_ns").removesuffix("_bytes").replace("_", " ")
        table.add_row(cell, figure, *values, change, *more)
    return table


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"…{name[-15:]}"


def _shown(value: float, unit: str) -> str:
    show = {"B": words.size, "ns": words.duration}.get(unit, words.count)
    return show(value)


def _change(change: float | None) -> str:
    return "from zero" if change is None else f"{change * 100:+.1f} %"


def _interval(one: Difference) -> str:
    if one.low is None or one.high is None:
        return "exact" if one.p is None else words.DASH
    return f"{one.low * 100:+.1f} … {one.high * 100:+.1f} %"


def _sentence(comparison: Comparison, threshold: float) -> str:
    verdicts = [one.verdict for one in comparison.differences]
    worse, better = (verdicts.count(name) for name in ("worse", "better"))
    parts = [f"{len(verdicts):,} figures compared{_tested(comparison)}: {worse:,} worse, {better:,} better"]
    unclear = [one for one in comparison.differences if one.verdict == "unclear"]
    apart = [one for one in unclear if min(one.repeats) >= _FEW and one.blocks is not None]
    few = len(unclear) - len(apart)
    if few:
        parts.append(
            f"{few:,} unclear, as they have too few repeats (four a side for counts; times want 20 that take turns)"
        )
    if apart:
        most = max(abs(one.change or 0.0) for one in apart)
        parts.append(
            f"{len(apart):,} times unclear (up to {most:.0%} apart), as the runs did not take turns {FEWEST_BLOCKS} times or "
            "more, and the machine's drift would pass for a difference; --drift PERCENT says how much of it is usual here"
        )
    sides = (("first", comparison.only_first), ("second", comparison.only_second))
    alone = [f"{number:,} only in the {side}" for side, number in sides if number]
    if alone:
        parts.append(f"cells {' and '.join(alone)}")
    if threshold:
        parts.append(f"{len(comparison.worse(threshold)):,} worse by more than {threshold * 100:g} %")
    return "; ".join(parts) + "."


def _tested(comparison: Comparison) -> str:
    """Which tests were made."""
    tested = [one.blocks for one in comparison.differences if one.p is not None]
    drifting = [blocks for blocks in tested if blocks is not None]
    turns = sum(blocks >= FEWEST_BLOCKS for blocks in drifting)
    ways = [f"{turns:,} by repeats that took turns"] if turns else []
    if len(drifting) > turns:
        drift = f"a drift of {comparison.drift or 0:.0%}, as the runs did not take turns"
        ways.append(f"{len(drifting) - turns:,} beyond {drift}")
    if len(tested) > len(drifting):
        ways.append(f"{len(tested) - len(drifting):,} by a test of all repeats")
    return f", {', '.join(ways)}" if ways else ""
