"""Which study a store's tables belong to, its table in HTML and on the screen."""

import io
from collections.abc import Mapping

import pyarrow as pa
import pytest
from rich.cells import cell_len
from rich.console import Console

from mshare_bench.domain.cell import Cell
from mshare_bench.report.screen import print_results
from mshare_bench.report.studies import TABLES, Study, study_of, study_table
from mshare_bench.results.columns import empty
from mshare_bench.results.rows import Rows
from mshare_bench.results.savings import with_savings
from mshare_bench.results.schema import schema
from mshare_bench.sim.engine import SimEngine
from tests.results.sample import headline
from tests.sim.test_places import placed

Tables = Mapping[str, pa.Table]


def tables_of(cells: list[Cell]) -> dict[str, pa.Table]:
    merged = Rows.merge(list(SimEngine().run(cells)))
    found = {name: merged.get(name, empty(schema(name))) for name in TABLES}
    return {**found, "cells": with_savings(found["cells"])}


def placements() -> dict[str, pa.Table]:
    return tables_of(
        [
            Cell(placed(name, placement, mechanism))
            for name in ("xeon_2s", "xeon_4s")
            for placement in ("first_touch", "first_touch;tables=replicate", "pack")
            for mechanism in ("shmem", "mshare")
        ]
    )


def moves() -> dict[str, pa.Table]:
    cells = [
        Cell(placed("cluster_4", "pack;horizon=60", mechanism, processes, region=region))
        for mechanism in ("shmem", "mshare")
        for processes in (4, 64)
        for region in (64 << 20, 1 << 30)
    ]
    return tables_of(cells)


def day() -> dict[str, pa.Table]:
    from tests.sim.test_fleet import fleet

    return tables_of([Cell(fleet(mechanism)) for mechanism in ("shmem", "mshare")])


@pytest.fixture(scope="module")
def studies() -> dict[str, dict[str, pa.Table]]:
    return {"placement": placements(), "migration": moves(), "fleet": day()}


def made(studies: dict[str, dict[str, pa.Table]], name: str) -> Study:
    found = study_of(studies[name])
    assert found is not None
    return found


def test_a_store_without_places_moves_or_days_has_no_study() -> None:
    cells = with_savings(headline().tables()["cells"])
    assert study_of({"cells": cells}) is None
    assert study_of(tables_of([Cell(placed("xeon_2s", "pack"))])) is None


@pytest.mark.parametrize("name", ["placement", "migration", "fleet"])
def test_every_study_has_a_question_an_answer_in_one_sentence_a_table_and_a_figure(
    studies: dict[str, dict[str, pa.Table]], name: str
) -> None:
    study = made(studies, name)
    assert study.name == name
    assert study.question.endswith("?")
    assert study.answer.endswith("(predicted).")
    assert ". " not in study.answer.removesuffix("(predicted).")
    assert all(len(row) in (1, len(study.head)) for row in study.rows)
    assert study.draw({"shmem": "#0a0a0a", "mshare": "#d55e00"}).axes
    table = study_table(study)
    assert table.count("<tr") == len(study.rows) + 1
    assert all(note.split(":")[0] in ("shmem", "mshare") for note in study.notes)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("name", ["placement", "migration", "fleet"])
def test_the_screen_shows_it_within_its_width(studies: dict[str, dict[str, pa.Table]], name: str, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_results(studies[name], console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width
    assert " ".join(text.split()).endswith(made(studies, name).answer)
