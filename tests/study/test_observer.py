"""Who hears how a run goes on: first the plan, and of rows only when they are on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import mshare_bench
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Tables
from mshare_bench.study.observer import Observer, Silent
from mshare_bench.sweep.plan import Plan

pytestmark = pytest.mark.usefixtures("own_folder")


class Heard:
    """Writes down what it hears, and what was on disk at that moment."""

    def __init__(self) -> None:
        self.path = Path()
        self.todo = 0
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def planned(self, plan: Plan, todo: Sequence[Cell], path: Path) -> None:
        assert self.rows == [] and (path / "store.json").exists()
        self.path, self.todo = path, len(todo)

    def finished(self, tables: Tables) -> None:
        new = tables["cells"].to_pylist()
        on_disk = {(row["cell"], row["repeat"]) for row in mshare_bench.load(self.path).cells.to_pylist()}
        assert {(row["cell"], row["repeat"]) for row in new} <= on_disk
        self.rows += new

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_rows_are_on_disk_before_anybody_hears_of_them_and_each_is_told_once() -> None:
    heard = Heard()
    observer: Observer = heard
    result = mshare_bench.run(
        "mechanism=all", "processes=2", "region=64MiB", "offset=4096", "tracking=none", observer=observer
    )
    # mshare and hugetlb can't map at that offset: refused, and told all the same.
    assert {row["status"] for row in heard.rows} == {"ok", "skipped"}
    told = sorted((row["cell"], row["repeat"]) for row in heard.rows)
    assert told == sorted((row["cell"], row["repeat"]) for row in result.cells.to_pylist())
    assert heard.todo == sum(row["status"] == "ok" for row in heard.rows)


def test_silence() -> None:
    silent = Silent()
    assert silent.note("x") is None and silent.finished({}) is None
