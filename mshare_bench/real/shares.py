"""A cell whose processes run on several machines: its parts, one per machine, and its rows from theirs.

Where they go the placement decides, as for simulated cells. Every machine maps the regions for itself, since memory is not shared
between machines: data and tables add up. What a process took is looked at over all processes of all machines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cell import Cell, digest
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.ports import Part, Share, Tables
from mshare_bench.real.quantiles import QUANTILES, median, spread
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import PHASES, TIMED_PHASES
from mshare_bench.sim.places import places_of

if TYPE_CHECKING:  # a guest has this module and no Arrow
    import pyarrow as pa

__all__ = ["combined", "parts_of"]

_SUMS = (
    "page_table_bytes",
    "pte_table_bytes",
    "pmd_table_bytes",
    "pud_table_bytes",
    "page_table_noise_bytes",
    "data_bytes",
    "metadata_bytes",
    "minor_faults",
    "linking_faults",
    "tlb_misses",
    "walk_cycles",
    "shootdowns",
)
_REGION_SUMS = ("mappers", "page_table_bytes", "data_bytes", "minor_faults", "linking_faults")


def parts_of(cell: Cell, geometry: Geometry = X86_64) -> tuple[Part, ...]:
    """Place a cell on the machines of its topology: what runs on each, machine by machine; those without a process are left out.

    Raises
    ------
    PlacementError
        When there is no room.
    """
    found = []
    for part in places_of(cell.point, geometry).parts:
        nodes = frozenset(held.seat.node for held in part.held)
        found.append(Part(part.machine, replace(cell, point=replace(part.point, machines=None)), nodes))
    return tuple(found)


def combined(cell: Cell, shares: Sequence[Share], samples: str) -> Tables:
    """Make the rows of a cell from those of its parts.

    Parameters
    ----------
    cell
        As it was planned.
    shares
        What every machine gave, with all samples.
    samples
        `all`, `quantiles` or `none`: how many are kept.
    """
    kinds = sorted({share.kind for share in shares})
    ran = replace(cell, machine=kinds[0] if len(kinds) == 1 else digest({"machines": kinds}))
    cells = [(share, share.tables["cells"].to_pylist()[0]) for share in shares]
    rows = Rows()
    bad = next(((share, row) for share, row in cells if row["status"] != "ok"), None)
    if bad is not None:
        share, row = bad
        rows.add("cells", **cell_columns(ran, row["status"], f"machine {share.name}: {row['error']}"))
        return rows.tables()
    times = _times(shares)
    columns: dict[str, Any] = {name: _sum(row[name] for _, row in cells) for name in _SUMS}
    sources = sorted({row["page_table_source"] for _, row in cells if row["page_table_source"]})
    columns |= {
        "page_table_source": "+".join(sources) or None,
        "address_space_bytes": max((row["address_space_bytes"] or 0 for _, row in cells), default=0) or None,
        "started_ns": min((row["started_ns"] for _, row in cells if row["started_ns"] is not None), default=None),
        "basis": max((row["basis"] for _, row in cells), key=len),  # one that was multiplexed says so
    }
    for phase in TIMED_PHASES:
        # A part that has no time of a phase (processes that inherit attach nothing) leaves it to nobody.
        if all(row[f"{phase}_ns"] is not None for _, row in cells):
            columns |= median(phase, np.concatenate([one for (_, own), one in times.items() if own == phase]))
    rows.add("cells", **cell_columns(ran), **columns)
    key = {"cell": ran.digest, "repeat": ran.repeat}
    _regions(key, shares, rows)
    _groups(key, shares, rows)
    _phases(key, shares, times, samples, rows)
    tables = rows.tables()
    environments = [share.tables["environments"] for share in shares if "environments" in share.tables]
    if environments:
        import pyarrow as pa

        tables["environments"], env = _environments(environments, ran.machine)
        position = tables["cells"].schema.get_field_index("env")
        field = tables["cells"].schema.field(position)
        tables["cells"] = tables["cells"].set_column(position, field, pa.array([env], field.type))
    return tables


def _times(shares: Sequence[Share]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """By group and phase: what every process took, machine after machine."""
    found: dict[tuple[str, str], list[int]] = {}
    for share in shares:
        for row in share.tables["samples"].to_pylist():
            found.setdefault((row["group"], row["phase"]), []).append(int(row["value_ns"]))
    return {key: np.array(values, dtype=np.int64) for key, values in found.items()}


def _regions(key: Mapping[str, Any], shares: Sequence[Share], rows: Rows) -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    for share in shares:
        for row in share.tables["regions"].to_pylist():
            found.setdefault(row["region"], []).append(row)
    for name, parts in found.items():
        sums = {column: _sum(part[column] for part in parts) for column in _REGION_SUMS}
        same = {column: parts[0][column] for column in ("backing", "region_bytes")}
        rows.add("regions", **key, region=name, **same, **sums)


def _groups(key: Mapping[str, Any], shares: Sequence[Share], rows: Rows) -> None:
    """Every group on every machine, with its start after the first one's; and every machine's only node."""
    begun = [share.start_ns for share in shares if share.start_ns is not None]
    first = min(begun, default=0.0)
    for share in shares:
        parts = share.tables["groups"].to_pylist()
        start = None if share.start_ns is None else share.start_ns - first
        for row in parts:
            kept = {column: row[column] for column in ("group", "role", "processes")}
            rows.add(
                "groups",
                **key,
                **kept,
                machine=share.name,
                node=share.node,
                start_ns=start,
                start_error_ns=None if start is None else share.error_ns,
            )
        if share.node is None:  # which of several nodes holds what was not asked
            continue
        row = share.tables["cells"].to_pylist()[0]
        rows.add(
            "nodes",
            **key,
            machine=share.name,
            node=share.node,
            processes=sum(part["processes"] for part in parts),
            data_bytes=row["data_bytes"],
            page_table_bytes=row["page_table_bytes"],
        )


def _phases(
    key: Mapping[str, Any],
    shares: Sequence[Share],
    times: Mapping[tuple[str, str], NDArray[np.int64]],
    samples: str,
    rows: Rows,
) -> None:
    told = [row for share in shares for row in share.tables["phases"].to_pylist()]
    for (group, phase), own in times.items():
        alike = [row for row in told if (row["group"], row["phase"]) == (group, phase)]
        rows.add(
            "phases",
            **key,
            group=group,
            phase=phase,
            order=PHASES.index(phase),
            **spread(own),
            page_table_bytes=_sum(row["page_table_bytes"] for row in alike),
            minor_faults=_sum(row["minor_faults"] for row in alike),
        )
        for process, value in _kept(own, samples):
            rows.add("samples", **key, group=group, phase=phase, process=process, value_ns=value)


def _kept(own: NDArray[np.int64], samples: str) -> Iterator[tuple[int, float]]:
    if samples == "all":
        yield from ((index, float(value)) for index, value in enumerate(own))
    elif samples == "quantiles":
        values = np.quantile(own, np.array(QUANTILES) / 1000)
        yield from ((mille, float(value)) for mille, value in zip(QUANTILES, values, strict=True))


def _environments(tables: "Sequence[pa.Table]", machine: str) -> "tuple[pa.Table, str]":
    """All environments, and the digest of the cell's own: theirs where they are one, else of a list of them."""
    import pyarrow as pa

    envs = sorted({env for table in tables for env in table["env"].to_pylist()})
    if len(envs) == 1:
        return tables[0], envs[0]
    together = digest({"environments": envs})
    rows = Rows()
    for number, env in enumerate(envs):
        rows.add("environments", env=together, machine=machine, key=f"environment_{number}", value=env)
    distinct = {table["env"][0].as_py(): table for table in tables}
    return pa.concat_tables([*(distinct[env] for env in envs), rows.tables()["environments"]]), together


def _sum(values: Any) -> Any:
    """Their sum; None as soon as one is not known."""
    known = list(values)
    return None if None in known or not known else sum(known)
