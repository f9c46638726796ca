"""The audit in the terminal: what is duplicated, by whom, what could not be seen, and what to do about it.

render(audit, console=None) -> None
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mshare_bench.audit.recommendation import recommend
from mshare_bench.audit.result import Audit, AuditedProcess, CgroupShare, SharedObject
from mshare_bench.domain.units import format_size

__all__ = ["render"]

_DASH = "–"
# From this width on, the table shows what less common ways would save.
_WIDE = 130
_NAME = 14  # least columns for a name
_SIZES = ("VmPTE", "unattributed", "duplicated")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    figures: list[str]
    style: str = ""


def render(audit: Audit, console: Console | None = None) -> None:
    """Print an audit.

    Parameters
    ----------
    audit
        What was found.
    console
        Where to; standard output by default.
    """
    console = console or Console()
    console.print()
    console.print(_headline(audit), style="bold")
    console.print(_objects(audit, console.width))
    rest = len(audit.objects) - audit.top
    if rest > 0:
        console.print(Text(f"  … {rest:,} more objects are in the Arrow table and in --json", "dim"))
    console.print(_processes(audit, console.width))
    groups = [one for one in audit.cgroups if one.cgroup != "/"]
    if len(audit.cgroups) > 1 and groups:
        console.print(_cgroups(audit, console.width))
    _alignment(audit, console)
    _seen(audit, console)
    _advice(audit, console)


def _headline(audit: Audit) -> Text:
    count = len(audit.processes)
    spaces = f"{count:,} address space{'' if count == 1 else 's'}"
    return Text(
        f"Page tables of {audit.selection}: {format_size(audit.vmpte_bytes)} in {spaces}, "
        f"{format_size(audit.duplicated_bytes)} duplicated"
    )


def _table(titles: Sequence[str], rows: Sequence[_Row], width: int) -> Table:
    """Lay rows out: figures whole, and what is left of the width for the name."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1))
    figures = [
        max([*(len(line) for line in title.split("\n")), *(len(row.figures[at]) for row in rows)])
        for at, title in enumerate(titles[1:])
    ]
    room = max(_NAME, width - sum(one + 3 for one in figures))
    table.add_column(titles[0], no_wrap=True)
    for title, least in zip(titles[1:], figures, strict=True):
        table.add_column(title, justify="right", no_wrap=True, min_width=least)
    for row in rows:
        table.add_row(Text(_cut(row.name, room)), *map(Text, row.figures), style=row.style)
    return table


def _cut(name: str, room: int) -> str:
    if len(name) <= room:
        return name
    # Paths are told apart by their ends, other names by their beginnings.
    return f"…{name[1 - room :]}" if name.startswith("/") else f"{name[: room - 1]}…"


def _objects(audit: Audit, width: int) -> Table:
    columns: list[tuple[str, Callable[[SharedObject], str]]] = [
        ("mappers", lambda one: f"{one.mappers:,}"),
        ("tables\ntoday", lambda one: _size(one.table_bytes)),
        ("\nduplicated", lambda one: _size(one.duplicated_bytes)),
        ("mshare\nsaves", lambda one: _size(one.saved_mshare_bytes)),
        ("hugetlb\nsaves", lambda one: _size(one.saved_hugetlb_bytes)),
    ]
    if width >= _WIDE:
        columns.insert(0, ("kind", lambda one: one.kind))
        columns.insert(3, ("\nonce", lambda one: _size(one.once_bytes)))
        columns.insert(6, ("flag\nsaves", lambda one: _size(one.saved_flag_bytes)))
        columns.append(("THP\nsaves", lambda one: _size(one.saved_thp_bytes)))
    rows = [_Row(_name(one), [show(one) for _, show in columns]) for one in audit.objects[: audit.top]]
    left = audit.objects[audit.top :]
    if left:
        rest = _Row(_name(_sum(left)), [show(_sum(left)) for _, show in columns], "dim")
        rest.figures[[title for title, _ in columns].index("mappers")] = ""
        rows.append(rest)
    rows += [_Row(one.object, [show(one) for _, show in columns], "dim") for one in (audit.private, audit.unattributed)]
    return _table(["object", *(title for title, _ in columns)], rows, width)


def _sum(objects: Sequence[SharedObject]) -> SharedObject:
    def total(name: str) -> int:
        return sum(getattr(one, name) or 0 for one in objects)

    added = ("table_bytes", "once_bytes", "duplicated_bytes", "saved_mshare_bytes", "saved_flag_bytes")
    sums: dict[str, Any] = {name: total(name) for name in (*added, "saved_hugetlb_bytes", "saved_thp_bytes")}
    return SharedObject(f"({len(objects):,} others)", "", mappers=0, mapped_bytes=total("mapped_bytes"), **sums)


def _name(one: SharedObject) -> str:
    return f"{one.object} ({one.names} mounts)" if one.names > 1 else one.object


def _processes(audit: Audit, width: int) -> Table:
    largest = sorted(audit.processes, key=lambda one: (-one.vmpte_bytes, one.pid))[: min(audit.top, 5)]
    rows = [
        _Row(
            one.comm + (f" and {len(one.pids) - 1} on its address space" if len(one.pids) > 1 else ""),
            [str(one.pid), *_sizes(one)],
        )
        for one in largest
    ]
    return _table(["largest processes", "pid", *_SIZES], rows, width)


def _cgroups(audit: Audit, width: int) -> Table:
    rows = [_Row(one.cgroup, [f"{one.address_spaces:,}", *_sizes(one)]) for one in audit.cgroups[: audit.top]]
    return _table(["cgroups", "processes", *_SIZES], rows, width)


def _sizes(one: AuditedProcess | CgroupShare) -> list[str]:
    return [_size(value) for value in (one.vmpte_bytes, one.unattributed_bytes, one.duplicated_bytes)]


def _alignment(audit: Audit, console: Console) -> None:
    notes = [(one, line) for one in audit.objects[: audit.top] if one.duplicated_bytes for line in one.advice]
    if notes:
        console.print(Text("Alignment", "bold"))
        for one, line in notes:
            console.print(Padding(Text(f"{_name(one)}: {line}"), (0, 0, 0, 2)))
        console.print()


def _seen(audit: Audit, console: Console) -> None:
    exact = sum(not one.unattributed_bytes for one in audit.processes)
    lines = [f"{exact:,} of {len(audit.processes):,} address spaces are explained to the last table."]
    if audit.page_tables_bytes:
        share = audit.explained_bytes / audit.page_tables_bytes
        shared = sum(one.kernel_shared_bytes for one in audit.objects)
        once = f" (less {format_size(shared)} that the kernel shares already)" if shared else ""
        total = format_size(audit.page_tables_bytes)
        top = f", {format_size(audit.top_bytes)} of top-level tables among it" if audit.top_bytes else ""
        rest = audit.page_tables_bytes - audit.explained_bytes
        lines.append(f"PageTables of the machine: {total}; the sum of the processes is {share:.1%} of it{once}{top}.")
        if rest > 0:
            lines.append(
                f"The other {format_size(rest)} are the kernel's own tables, or those of processes that are not seen."
            )
    ended = [one for one in audit.unread if one.vmpte_bytes is None]
    if ended:
        named = ", ".join(f"{one.comm} ({one.pid})" for one in ended[:3])
        lines.append(f"Ended while being read, {len(ended)}: {named}{', …' if len(ended) > 3 else ''}.")
    refused = [one for one in audit.unread if one.vmpte_bytes is not None]
    if refused:
        named = ", ".join(f"{one.comm} ({one.pid})" for one in refused[:3])
        lines.append(f"Not read ({refused[0].reason}): {named}{', …' if len(refused) > 3 else ''}.")
    lines += [f"Missed: {line}." for line in audit.missed]
    cost = audit.cost
    read = "" if cost.read_bytes is None else f", {format_size(cost.read_bytes)} read"
    lines.append(f"Cost of this audit: {cost.seconds:.2f} s ({audit.method}){read}; nothing was changed.")
    for line in lines:
        console.print(Padding(Text(line, "dim"), (0, 0, 0, 2)))
    console.print()


def _advice(audit: Audit, console: Console) -> None:
    first, *others = recommend(audit)
    console.print(Text("Recommendation", "bold"))
    console.print(Padding(Text(first.text, "bold green"), (0, 0, 0, 2)))
    if first.price != "none":
        console.print(Padding(Text(f"Price: {first.price}.", "dim"), (0, 0, 0, 2)))
    for one in others:
        console.print(Padding(Text(f"• {one.text}"), (0, 0, 0, 2)))
        console.print(Padding(Text(f"Price: {one.price}.", "dim"), (0, 0, 0, 4)))


def _size(value: int | None) -> str:
    return _DASH if value is None else format_size(value)
