from pathlib import Path

from mshare_bench.results.document import contract_markdown
from mshare_bench.results.schema import TABLES

DOCUMENT = Path(__file__).parents[2] / "docs" / "results.md"


def test_the_document_has_the_columns_of_the_schemas() -> None:
    _, _, written = DOCUMENT.read_text().partition("the tests compare -->\n\n")
    assert written == contract_markdown()


def test_every_table_is_described() -> None:
    text = DOCUMENT.read_text()
    assert all(f"{name}.arrow" in text for name in TABLES)
    assert "| `page_table_bytes` | int64 | B | lower |" in text
