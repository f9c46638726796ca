import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mshare_bench.report.html import render_report, write_report
from mshare_bench.results.rows import Rows
from mshare_bench.results.store import Store
from tests.results.sample import COLORS, cell_of, headline, rows_of, sweep

_VOID = {"meta", "br", "link", "img", "path", "use", "line", "rect", "image", "stop", "circle"}


class _Checked(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.text += " " if tag in ("span", "td") else ""
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _report(path: Path, rows: Rows, name: str = "a run") -> tuple[str, _Checked]:
    with Store.create(path, name, config={"overrides": ["experiment=headline", "name=<b>"]}) as store:
        store.append(rows.tables())
        text = render_report(store, COLORS)
    parsed = _Checked()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    return text, parsed


@pytest.mark.parametrize(
    "rows",
    [headline(), rows_of(list(sweep(engines=("sim", "real")))), rows_of([cell_of("mshare")])],
    ids=["headline", "sweep", "one"],
)
def test_it_needs_nothing_else(tmp_path: Path, rows: Rows) -> None:
    text, _ = _report(tmp_path, rows)
    assert not re.findall(r"<script|<link|<img|@import|src=|url\((?!#)", text)
    outside = set(re.findall(r"https?://[^\"' )]+", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_it_says_what_it_should(tmp_path: Path) -> None:
    _, parsed = _report(tmp_path, headline())
    said = " ".join(parsed.text.split())
    for part in (
        "What do 10,000 processes that share 1 GiB spend on page tables",
        "19.61 GiB on page tables with shmem, 39.07 MiB with hugetlb and 2.01 MiB with mshare",
        "1.000 measured over predicted, at up to 1,000 processes",
        "this kernel shares no page tables (CONFIG_MSHARE)",
        "Environment",
        "6.18.5",
        "mshare-bench run experiment=headline 'name=<b>'",
    ):
        assert part in said


def test_names_can_not_break_it(tmp_path: Path) -> None:
    text, parsed = _report(tmp_path, headline(), "<script>alert(1)</script>")
    assert "<script" not in text
    assert "<script>alert(1)</script>" in parsed.text


def test_without_any_result_it_still_says_why(tmp_path: Path) -> None:
    _, parsed = _report(tmp_path, rows_of([cell_of("shmem")], failing=("shmem",)))
    assert "no answer" in parsed.text
    assert "SIGSEGV" in parsed.text


def test_it_is_written_beside_the_tables(tmp_path: Path) -> None:
    with Store.create(tmp_path / "out", "x") as store:
        store.append(headline().tables())
        assert write_report(store) == tmp_path / "out" / "report.html"
        assert {one.name for one in (store.path / "figures").iterdir()} == {"page_tables.png", "time.png"}
        assert write_report(store, tmp_path / "else.html", COLORS).read_text().startswith("<!doctype html>")
