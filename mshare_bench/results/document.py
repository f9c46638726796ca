"""The results contract as Markdown: the columns in `docs/results.md`, made from the schemas so that the two can't differ."""

from mshare_bench.results.schema import TABLES, schema

__all__ = ["contract_markdown"]


def contract_markdown() -> str:
    """Write every table of the contract as a Markdown table: column, type, unit, direction, meaning."""
    return "\n\n".join(_table(name) for name in TABLES) + "\n"


def _table(name: str) -> str:
    lines = [f"### `{name}.arrow`", "", "| column | type | unit | better | meaning |", "|---|---|---|---|---|"]
    for field in schema(name):
        unit, better, meaning = (field.metadata[key].decode() for key in (b"unit", b"better", b"description"))
        cells = (f"`{field.name}`", str(field.type), unit, "" if better == "none" else better, meaning)
        lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    return "\n".join(lines)
