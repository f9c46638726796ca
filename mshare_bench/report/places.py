"""Cells that were placed in several ways: page tables and remote page walks by policy, on every topology."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.report import words
from mshare_bench.report.palette import INK
from mshare_bench.report.studies import Study
from mshare_bench.results.savings import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["places_study"]

_FAVOURED = (BASELINE, "mshare", "hugetlb")
_POLICIES = ("first_touch", "local", "pack", "spread", "interleave", "round_robin", "bind", "optimal")
_TABLES = ("first_touch", "interleave", "replicate", "follow_majority")
_Row = Mapping[str, Any]


def places_study(tables: Mapping[str, pa.Table]) -> Study | None:
    """Make the study of placements; None where all cells were placed alike."""
    wanted = ("status", "topology", "placement", "mechanism", "variant", "processes", "region_bytes")
    columns = [*wanted, "page_table_bytes", "remote_walk_fraction", "placement_cost_ns"]
    cells = tables["cells"]
    if len(cells["placement"].unique()) < 2:
        return None
    rows = [
        row
        for row in cells.select(columns).to_pylist()
        if row["status"] == "ok" and row["remote_walk_fraction"] is not None
    ]
    if len({row["placement"] for row in rows}) < 2:
        return None
    largest = max((row["processes"], row["region_bytes"]) for row in rows)
    rows = [row for row in rows if (row["processes"], row["region_bytes"]) == largest]
    present = [name for name in _FAVOURED if any(row["mechanism"] == name for row in rows)]
    mechanisms = present or sorted({row["mechanism"] for row in rows})[:3]
    index = {
        (row["topology"], row["placement"], row["mechanism"]): row
        for row in rows
        if not row["variant"] and row["mechanism"] in mechanisms
    }
    topologies = sorted({row["topology"] for row in rows})
    placements = sorted({row["placement"] for row in rows}, key=_order)
    head = ["", "tables", *(title for name in mechanisms for title in (name, "remote", "cost"))]
    lines: list[tuple[str, ...]] = []
    for topology in topologies:
        lines.append((f"{topology}: {words.count(largest[0])} processes x {words.size(largest[1])}",))
        for placement in placements:
            found = [index.get((topology, placement, name)) for name in mechanisms]
            if any(found):
                lines.append(_line(placement, found))
    return Study(
        "placement",
        "Where should processes, data and page tables go, and what does sharing page tables change?",
        _answer(topologies, index),
        "Remote page walks",
        "Share of page walks whose leaf table lies on another node, by placement. Own tables lie near their process where the "
        "kernel puts them on first touch; shared tables lie on one node and serve all, unless they are replicated, which costs a "
        "copy of them per node. The cost is CPU time per second of run: memory held, remote reads of data, remote walks, changes "
        "in replicas.",
        tuple(head),
        tuple(lines),
        (),
        lambda colors: _figure(topologies, placements, mechanisms, index, colors),
    )


def _order(placement: str) -> tuple[int, int, str]:
    choice = PlacementChoice.parse(placement)

    def at(name: str, known: Sequence[str]) -> int:
        return known.index(name) if name in known else len(known)

    return at(choice.policy, _POLICIES), at(choice.tables, _TABLES), placement


def _name(placement: str) -> tuple[str, str]:
    choice = PlacementChoice.parse(placement)
    nodes = " " + "+".join(str(node) for _, node in choice.nodes) if choice.nodes else ""
    tables = "best" if choice.policy == "optimal" else choice.tables.removeprefix("follow_").replace("_", " ")
    return choice.policy.replace("_", " ") + nodes, tables


def _line(placement: str, found: Sequence[_Row | None]) -> tuple[str, ...]:
    parts = list(_name(placement))
    for row in found:
        if row is None:
            parts += [words.DASH] * 3
        else:
            remote, cost = words.percent(row["remote_walk_fraction"], 0), words.duration(row["placement_cost_ns"])
            parts += [words.size(row["page_table_bytes"]), remote, cost]
    return tuple(parts)


def _answer(topologies: Sequence[str], index: Mapping[tuple[str, str, str], _Row]) -> str:
    def row(topology: str, placement: str, mechanism: str) -> _Row | None:
        return index.get((topology, placement, mechanism))

    best = ""
    most = -1.0
    for topology in topologies:
        found = row(topology, "first_touch", "mshare")
        if found is not None and found["remote_walk_fraction"] > most:
            best, most = topology, found["remote_walk_fraction"]
    shared, own = row(best, "first_touch", "mshare"), row(best, "first_touch", BASELINE)
    copied = row(best, "first_touch;tables=replicate", "mshare")
    if shared is None or own is None or copied is None:
        low = min(index.values(), key=lambda one: (one["remote_walk_fraction"], one["page_table_bytes"]))
        return (
            f"On {low['topology']} {low['mechanism']} has the fewest remote page walks "
            f"({words.percent(low['remote_walk_fraction'], 1)}) with placement {' / '.join(_name(low['placement']))} (predicted)."
        )
    share = copied["page_table_bytes"] / own["page_table_bytes"]
    far, near, then = (words.percent(one["remote_walk_fraction"], 0) for one in (shared, own, copied))
    dear, cheap, usual = (words.duration(one["placement_cost_ns"]) for one in (shared, copied, own))
    return (
        f"On {best}, left to first touch, {far} of mshare's page walks go to another node, where its one set of tables lies "
        f"({near} of shmem's, which has {words.size(own['page_table_bytes'])} of tables); a replica on every node takes that to "
        f"{then} for {words.size(copied['page_table_bytes'])}, "
        f"{words.percent(share, 1)} of what shmem spends, and the cost of the "
        f"placement from {dear} to {cheap} of CPU time a second ({usual} with shmem) (predicted)."
    )


def _figure(
    topologies: Sequence[str],
    placements: Sequence[str],
    mechanisms: Sequence[str],
    index: Mapping[tuple[str, str, str], _Row],
    colors: Mapping[str, str],
) -> "Figure":
    """Remote walks over page tables, a panel per topology, a mark per placement; near the lower left corner is best."""
    import matplotlib as mpl

    from mshare_bench.report.figures import STYLE, new_figure, scale_axis
    from mshare_bench.report.palette import MARKERS, PAPER

    kinds = list(dict.fromkeys(_name(placement)[1] for placement in placements))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(9.6, 4.2, len(topologies), sharey=True)
        for axis, topology in zip(axes, topologies, strict=True):
            for name in mechanisms:
                for kind in kinds:
                    points = sorted(
                        {
                            (row["page_table_bytes"], row["remote_walk_fraction"] * 100)
                            for placement in placements
                            if _name(placement)[1] == kind and (row := index.get((topology, placement, name)))
                        }
                    )
                    if points:
                        x, y = zip(*points, strict=True)
                        axis.plot(
                            x, y, linestyle="none", marker=MARKERS[kinds.index(kind) % len(MARKERS)], markersize=8, alpha=0.9,
                            color=colors[name], markerfacecolor=PAPER, markeredgewidth=1.5,
                        )  # fmt: skip
            axis.set_xscale("log", base=2)
            scale_axis(axis.xaxis, "bytes")
            axis.grid(visible=True)
            axis.set_title(topology, color=INK)
            axis.set_xlabel("page tables, all nodes")
        axes[0].set_ylabel("remote page walks, %")
        from matplotlib.lines import Line2D

        keys = [Line2D([], [], color=colors[name], linewidth=3, label=name) for name in mechanisms]
        keys += [
            Line2D([], [], linestyle="none", marker=marker, color=INK, markerfacecolor=PAPER, label=f"tables {kind}")
            for marker, kind in zip(itertools.cycle(MARKERS), kinds, strict=False)
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, labelcolor=INK, fontsize=8.5)
    return figure
