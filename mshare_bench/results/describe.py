"""The columns that say what a cell is: the same for every engine, so that rows of one point pair up."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mshare_bench.domain.cell import Cell

__all__ = ["alike_columns", "cell_columns", "coordinate_columns"]


def coordinate_columns(cell: Cell) -> dict[str, Any]:
    """Columns of `cells` that follow from the cell's point and engine, not from running it."""
    point = cell.point
    return {
        "point": point.digest,
        "baseline_point": point.baseline_digest,
        "workload": point.workload.name,
        "workload_params": _json(point.workload.params),
        "mechanism": point.mechanism,
        "variant": point.variant,
        "engine": cell.engine,
        "host": cell.host,
        "machine": cell.machine,
        "topology": point.topology,
        "placement": point.placement,
        "cost": cell.cost or None,
        "mmu": None if cell.mmu is None else cell.mmu.label,
        "seed": cell.seed,
        "processes": point.workload.processes,
        "region_bytes": point.workload.region_bytes,
        "page_bytes": point.page,
        "offset_bytes": point.offset,
        "access": point.access.kind,
        "access_params": _json(point.access.params),
        "write_fraction": float(point.write_fraction),
        "populate": point.populate,
    }


def cell_columns(cell: Cell, status: str = "ok", error: str | None = None) -> dict[str, Any]:
    """All columns of `cells` that are known without a measurement: coordinates, keys and status."""
    keys = {"cell": cell.digest, "repeat": cell.repeat, "status": status, "error": error}
    return {**keys, **coordinate_columns(cell)}


def alike_columns(cells: Sequence[Cell], **known: Any) -> dict[str, Any]:
    """The same for cells that were run and differ in numbers only, with lists and arrays where they do.

    `known` are columns that who computed them together has already: `processes`, `region_bytes`.
    """
    columns = {**cell_columns(cells[0]), **known}
    if len(cells) > 1:
        columns["cell"] = [cell.digest for cell in cells]
        columns["point"] = [cell.point.digest for cell in cells]
        columns["baseline_point"] = [cell.point.baseline_digest for cell in cells]
        columns["repeat"] = np.array([cell.repeat for cell in cells], np.int64)
        for name in ("processes", "region_bytes"):
            if name not in known:
                columns[name] = np.array([getattr(cell.point.workload, name) for cell in cells], np.int64)
    return columns


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"), default=str)
