"""The plan in the terminal."""

from typing import Any

from rich.console import Console

from mshare_bench.report.plan import MOST_LINES, print_plan

ROW: dict[str, Any] = {
    "workload": "region", "mechanism": "mshare", "variant": "interface=flag", "engine": "sim", "processes": 10_000,
    "region_bytes": 1 << 30, "page_table_bytes": 2 << 20, "memory_bytes": None, "seconds": 0.5, "state": "runs", "why": "new",
}  # fmt: skip


def printed(rows: list[dict[str, Any]]) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_plan(rows, console)
    return console.export_text()


def test_cells_and_sums() -> None:
    done = {**ROW, "state": "done", "why": None, "seconds": None, "page_table_bytes": None}
    refused = {**done, "state": "skipped", "why": "offset=4096: can't be"}
    text = printed([ROW, done, refused, refused])
    assert "mshare interface=flag" in text and "10,000" in text and "2 MiB" in text and "500 ms" in text
    assert "4 cells: 1 would run" in text and "1 are done, 2 can't be" in text
    assert text.count("offset=4096: can't be") == 1


def test_a_large_plan_is_cut() -> None:
    text = printed([ROW] * (MOST_LINES + 50))
    assert "and 50 more" in text and f"{MOST_LINES + 50} cells" in text
