"""The study of moves speaks of the largest scene that has both mechanisms, and shows every reason."""

from mshare_bench.report.moves import moves_study
from tests.report.test_studies import moves


def test_the_answer_compares_break_even_times_of_the_largest_scene() -> None:
    tables = moves()
    study = moves_study(tables)
    assert study is not None
    cells = {row["cell"]: row for row in tables["cells"].to_pylist()}
    even = {
        cells[row["cell"]]["mechanism"]: row["break_even_ns"]
        for row in tables["migrations"].to_pylist()
        if row["what"] == "data"
        and cells[row["cell"]]["processes"] == 64
        and cells[row["cell"]]["region_bytes"] == 1 << 30
    }
    assert "64 processes that share 1 GiB" in study.answer
    assert f"{even['shmem'] / even['mshare']:.3g} times sooner" in study.answer
    assert "one set of page tables changes instead of 64" in study.answer
    reasons = {row["reason"] for row in tables["migrations"].to_pylist()}
    assert {note.split(": ", 1)[1] for note in study.notes} <= reasons
    assert len(study.notes) == 4


def test_every_scene_has_its_rows() -> None:
    study = moves_study(moves())
    assert study is not None
    headings = [row[0] for row in study.rows if len(row) == 1]
    assert headings == [f"{n} processes x {size}" for n in (4, 64) for size in ("64 MiB", "1 GiB")]
    assert [row[0] for row in study.rows if len(row) > 1] == ["shmem", "mshare"] * 4


def test_no_move_no_study() -> None:
    assert moves_study({"cells": moves()["cells"]}) is None
