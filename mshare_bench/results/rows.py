"""Rows on their way from an engine to the store: columns per table, made into Arrow at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mshare_bench.results.schema import TABLES, field_names, schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Rows"]


class Rows:
    """Rows of every table of the contract, gathered column by column.

    `rows.add("cells", cell=..., ...)` appends one; a column that is left out is null.
    """

    __slots__ = ("_columns", "_counts")

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, list[Any]]] = {}
        self._counts: dict[str, int] = {}

    def add(self, table: str, /, **values: Any) -> None:
        """Append a row.

        Raises
        ------
        KeyError
            For a column that the contract does not have.
        """
        columns = self._columns.get(table)
        if columns is None:
            columns = self._columns[table] = {name: [] for name in field_names(table)}
        for name in values:
            if name not in columns:
                raise KeyError(f"{table}.{name} is not in the results contract")
        for name, values_so_far in columns.items():
            values_so_far.append(values.get(name))
        self._counts[table] = self._counts.get(table, 0) + 1

    def count(self, table: str) -> int:
        """Rows of a table so far."""
        return self._counts.get(table, 0)

    def columns(self) -> dict[str, dict[str, list[Any]]]:
        """Every table that has rows, by name, as plain lists by column."""
        return self._columns

    def tables(self) -> dict[str, "pa.Table"]:
        """Every table that has rows, by name, with the contract's schema."""
        import pyarrow as pa

        from mshare_bench.results.columns import column

        return {
            name: pa.Table.from_arrays(
                [column(columns[field.name], field.type) for field in schema(name)], schema=schema(name)
            )
            for name, columns in self._columns.items()
        }

    @staticmethod
    def merge(parts: "list[Mapping[str, pa.Table]]") -> "dict[str, pa.Table]":
        """Concatenate the tables of several batches, in the contract's order of tables."""
        import pyarrow as pa

        return {
            name: pa.concat_tables([part[name] for part in parts if name in part])
            for name in TABLES
            if any(name in part for part in parts)
        }
