"""Stamps rows with where they came from: the environment's digest in every cell, its facts in `environments`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mshare_bench.domain.cell import digest
from mshare_bench.domain.ports import Tables
from mshare_bench.domain.topology import Machine
from mshare_bench.results.columns import column, texts
from mshare_bench.results.schema import schema

__all__ = ["Where", "named", "stamped"]


@dataclass(frozen=True, slots=True)
class Where:
    """A machine, and what of it can change a result.

    Attributes
    ----------
    machine
        Digest of its hardware.
    facts
        By name; None for what could not be read.
    topology
        Its nodes, distances and caches; None where nobody read them.
    """

    machine: str
    facts: Mapping[str, str | None]
    topology: Machine | None = None

    @property
    def env(self) -> str:
        """Digest of the facts."""
        return digest(self.facts)


def stamped(tables: Tables, where: Where) -> dict[str, pa.Table]:
    """Fill the column `env` where the engine left it null, and add the environment's rows."""
    stored = dict(tables)
    cells = stored.get("cells")
    if cells is None or not cells.num_rows or cells["env"].null_count < cells.num_rows:
        return stored
    position = cells.schema.get_field_index("env")
    env = where.env
    stored["cells"] = cells.set_column(position, cells.schema.field(position), texts([cells.num_rows], [env]))
    if "environments" not in stored:
        stored["environments"] = _rows(env, where)
    return stored


def named(tables: Tables, name: str) -> dict[str, pa.Table]:
    """Put a machine's name into the long tables that tell machines of one kind apart."""
    stored = dict(tables)
    for table in {"groups", "nodes"} & set(stored):
        rows = stored[table]
        position = rows.schema.get_field_index("machine")
        field = rows.schema.field(position)
        stored[table] = rows.set_column(position, field, texts([rows.num_rows], [name]))
    return stored


def _rows(env: str, where: Where) -> pa.Table:
    names = sorted(where.facts)
    columns: dict[str, Sequence[str | None]] = {
        "env": [env] * len(names),
        "machine": [where.machine] * len(names),
        "key": names,
        "value": [where.facts[name] for name in names],
    }
    fields = schema("environments")
    return pa.table([column(columns[field.name], field.type) for field in fields], schema=fields)
