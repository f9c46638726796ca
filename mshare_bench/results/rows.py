"""Rows on their way from an engine to the store: columns per table, made into Arrow at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mshare_bench.results.schema import TABLES, field_names, schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Rows"]


class Rows:
    """Rows of every table of the contract, gathered in blocks and made into columns at the end.

    `rows.add("cells", cell=..., ...)` appends one; a column that is left out, or NaN, is null.
    """

    __slots__ = ("_blocks", "_names")

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[list[int], list[dict[str, Any]]]] = {}
        self._names: dict[str, frozenset[str]] = {}

    def add(self, table: str, /, **values: Any) -> None:
        """Append a row.

        Raises
        ------
        KeyError
            For a column that the contract does not have.
        """
        self.extend(table, 1, **values)

    def extend(self, table: str, count: int, /, **values: Any) -> None:
        """Append so many rows at once.

        Parameters
        ----------
        values
            Of every column one value for all of these rows, or a list (strings) or an array (numbers) with one for each.

        Raises
        ------
        KeyError
            For a column that the contract does not have.
        """
        if table not in self._blocks:
            self._names[table] = frozenset(field_names(table))
            self._blocks[table] = [], []
        if not self._names[table].issuperset(values):
            unknown = next(name for name in values if name not in self._names[table])
            raise KeyError(f"{table}.{unknown} is not in the results contract")
        counts, blocks = self._blocks[table]
        counts.append(count)
        blocks.append(values)

    def count(self, table: str) -> int:
        """Rows of a table so far."""
        return sum(self._blocks[table][0]) if table in self._blocks else 0

    def fill(self, table: str, /, **values: Any) -> None:
        """Set columns of all rows of a table so far to one value each."""
        if table in self._blocks:
            for block in self._blocks[table][1]:
                block.update(values)

    def columns(self) -> dict[str, dict[str, list[Any]]]:
        """Every table that has rows, by name, as plain lists by column."""
        return {
            table: {name: _listed(counts, [block.get(name) for block in blocks]) for name in field_names(table)}
            for table, (counts, blocks) in self._blocks.items()
        }

    def tables(self) -> dict[str, "pa.Table"]:
        """Every table that has rows, by name, with the contract's schema."""
        import pyarrow as pa

        return {
            name: pa.Table.from_arrays(
                [_column(counts, [block.get(field.name) for block in blocks], field.type) for field in schema(name)],
                schema=schema(name),
            )
            for name, (counts, blocks) in self._blocks.items()
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


def _listed(counts: list[int], parts: list[Any]) -> list[Any]:
    items: list[Any] = []
    for count, part in zip(counts, parts, strict=True):
        if hasattr(part, "tolist"):
            part = part.tolist()
        if isinstance(part, list):
            items.extend(part)
        elif count == 1:
            items.append(part)
        else:
            items.extend([part] * count)
    return items


def _column(counts: list[int], parts: list[Any], kind: "pa.DataType") -> "pa.Array":
    from mshare_bench.results.columns import column, repeated, texts

    if str(kind) in ("int64", "double"):
        return repeated(counts, parts, kind)
    return texts(counts, parts) if str(kind) == "string" else column(_listed(counts, parts), kind)
