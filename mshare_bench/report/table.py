"""The results table of the report: predicted beside measured, a block for every scene."""

from collections.abc import Callable, Sequence
from html import escape

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.pairs import Pair, Scene, scenes, select
from mshare_bench.report.scene import headline, said, varying
from mshare_bench.results.savings import BASELINE

__all__ = ["MOST_PAIRS", "results_table"]

MOST_PAIRS = 150

_TIMES = ("attach_ns", "touch_ns", "fork_ns", "protect_ns", "unmap_ns", "exit_ns")


def results_table(cells: pa.Table) -> str:
    """Make the sections with the tables; of a large sweep they hold whole scenes, evenly chosen."""
    shown, left_out = select(cells, MOST_PAIRS)
    found = scenes(shown)
    if not found:
        return ""
    pairs = [pair for scene in found for pair in scene.pairs]
    both = any(pair.predicted for pair in pairs) and any(pair.measured for pair in pairs)
    more = f" {left_out:,} more combinations of processes and region are in cells.arrow." if left_out else ""
    tables = _table(found, _TABLES_HEAD[both], lambda pair: _tables_row(pair, both))
    made = [
        _section("Results", f"Page tables of all processes. A dash is what nobody measured or computed.{more}", tables)
    ]
    columns = [
        (name, side)
        for name in ("minor_faults", *_TIMES)
        for side in ("predicted", "measured")
        if _any(pairs, name, side)
    ]
    if columns:
        names = list(dict.fromkeys(name for name, _ in columns))
        over = "".join(f'<th colspan="{sum(one == name for one, _ in columns)}">{_title(name)}</th>' for name in names)
        under = "".join(f"<th>{side if both else ''}</th>" for _, side in columns)
        head = f'<tr class="over"><th></th>{over}</tr><tr><th>Mechanism</th>{under}</tr>'
        times = _table(found, head, lambda pair: "".join(_one(pair, *column) for column in columns))
        caption = "Faults are those of touching, over all processes; times are per process, at the median."
        made.append(_section("Faults and times", caption, times))
    return "\n".join(made)


_TABLES_HEAD = {
    True: "<tr><th>Mechanism</th><th>predicted</th><th>measured</th><th>ratio</th><th>saved</th><th>share</th><th>data</th></tr>",
    False: "<tr><th>Mechanism</th><th>page tables</th><th>saved</th><th>share</th><th>data</th></tr>",
}


def _title(name: str) -> str:
    return {"minor_faults": "Faults"}.get(name, name.removesuffix("_ns").capitalize())


def _section(title: str, caption: str, table: str) -> str:
    return f'<section class="long">\n<h2>{title}</h2>\n<p>{escape(caption)}</p>\n{table}\n</section>'


def _table(found: Sequence[Scene], head: str, row: Callable[[Pair], str]) -> str:
    columns = row(found[0].pairs[0]).count("<td") + 1
    tells = varying(found)
    bodies = []
    for scene in found:
        title = f"{escape(headline(scene))}<span>{escape(said(scene, tells))}</span>"
        title = f'<tr class="scene"><th colspan="{columns}">{title}</th></tr>'
        rows = "\n".join(f"<tr>{_name(scene, pair)}{row(pair)}</tr>" for pair in scene.pairs)
        bodies.append(f"<tbody>{title}\n{rows}</tbody>")
    body = "\n".join(bodies)
    return f'<div class="scroll"><table><thead>{head}</thead>\n{body}\n</table></div>'


def _name(scene: Scene, pair: Pair) -> str:
    name, details = scene.label(pair)
    detail = f'<span class="detail">{escape(details)}</span>' if details else ""
    key = f'<span class="key" style="--key: var(--m-{escape(name.replace("_", "-"))})"></span>'
    return f"<td>{key}{escape(name)}{detail}</td>"


def _tables_row(pair: Pair, both: bool) -> str:
    parts = [_sides(pair, "page_table_bytes", both)]
    if both:
        kind = {None: "none", True: "good", False: "warn"}[pair.agrees]
        parts.append(f'<td class="{kind}">{words.ratio(pair.ratio)}</td>')
    saved, left = pair.best["page_table_saved_bytes"], pair.best["page_table_bytes"]
    if pair.mechanism == BASELINE:
        parts.append('<td class="none">baseline</td><td></td>')
    else:
        kind = "none" if saved is None else "good" if saved > 0 else "bad" if saved < 0 else ""
        share = words.percent(words.share_saved(saved, left))
        parts.append(f'<td class="{kind}">{words.size(saved)}</td><td class="{kind}">{escape(share)}</td>')
    parts.append(_cell(words.size(pair.best["data_bytes"])))
    return "".join(parts)


def _sides(pair: Pair, name: str, both: bool) -> str:
    if both:
        return _one(pair, name, "predicted") + _one(pair, name, "measured")
    return _one(pair, name, "measured" if pair.measured else "predicted")


def _one(pair: Pair, name: str, which: str) -> str:
    show = words.size if name.endswith("_bytes") else words.duration if name.endswith("_ns") else words.count
    side = pair.predicted if which == "predicted" else pair.measured
    return _cell(show(side[name] if side is not None else None))


def _any(pairs: Sequence[Pair], name: str, which: str) -> bool:
    sides = (pair.predicted if which == "predicted" else pair.measured for pair in pairs)
    return any(side is not None and side[name] is not None for side in sides)


def _cell(text: str) -> str:
    return f'<td class="none">{text}</td>' if text == words.DASH else f"<td>{escape(text)}</td>"
