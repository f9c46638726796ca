"""What goes over the line between controller and guest: cells there, rows back, a line of JSON each.

A cell travels as the coordinates that it was resolved from; the guest resolves it again, and its digest must come out the same.
"""

import json
from collections.abc import Mapping
from typing import Any

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.topology_mapping import topology_from_mapping, topology_to_mapping
from mshare_bench.errors import CellFailed
from mshare_bench.real.engine import resolve_arguments
from mshare_bench.results.rows import Rows

__all__ = ["cell_from_mapping", "cell_to_mapping", "decode", "encode", "rows_from_columns"]


def encode(message: Mapping[str, Any]) -> bytes:
    """One line of ASCII; numpy's numbers become Python's."""
    return json.dumps(message, separators=(",", ":"), default=_plain).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Read a line.

    Raises
    ------
    CellFailed
        When it is no message: something else wrote to the line.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise CellFailed(f"the guest's line carries {line[:60]!r}, which is no message") from error
    if not isinstance(message, dict):
        raise CellFailed(f"the guest's line carries {line[:60]!r}, which is no message")
    return message


def cell_to_mapping(cell: Cell) -> dict[str, Any]:
    """A cell as plain values."""
    point = cell.point
    return {
        "workload": point.workload.name,
        "resolve": resolve_arguments(point),
        "mechanism": point.mechanism,
        "variant": point.variant,
        "options": dict(point.options),
        "page": point.page,
        "offset": point.offset,
        "access": {"kind": point.access.kind, **point.access.params},
        "write_fraction": point.write_fraction,
        "populate": point.populate,
        "topology": point.topology,
        "placement": point.placement,
        "machines": None if point.machines is None else topology_to_mapping(point.machines),
        "runner": {key: getattr(cell, key) for key in ("engine", "host", "machine", "model", "repeat", "seed")},
        "digest": cell.digest,
    }


def cell_from_mapping(values: Mapping[str, Any]) -> Cell:
    """Resolve a cell again.

    Raises
    ------
    CellFailed
        When it does not come out as the same cell, as with a workload whose plug-in is not there.
    """
    from mshare_bench.workloads.registry import workloads

    if values["workload"] not in workloads():
        raise CellFailed(f"workload={values['workload']}: its plug-in does not go along into a guest")
    access = AccessPattern(**values["access"])
    workload = workloads()[values["workload"]].resolve(**{**values["resolve"], "access": access})
    point = Point(
        workload,
        values["mechanism"],
        values["variant"],
        values["page"],
        values["offset"],
        access,
        values["write_fraction"],
        values["populate"],
        values["topology"],
        values["placement"],
        values["options"],
        None if values["machines"] is None else topology_from_mapping(values["machines"]),
    )
    cell = Cell(point, **values["runner"])
    if cell.digest != values["digest"]:
        raise CellFailed(f"workload={values['workload']}: the guest resolves it to another cell than was planned")
    return cell


def rows_from_columns(tables: Mapping[str, Mapping[str, list[Any]]]) -> Rows:
    """Rows as they came over the line."""
    rows = Rows()
    for table, columns in tables.items():
        for values in zip(*columns.values(), strict=True):
            rows.add(table, **dict(zip(columns, values, strict=True)))
    return rows


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} can't go over the line")
