"""The study of epochs: every strategy with its moves, the answer with what each costs."""

from mshare_bench.domain.cell import Cell
from mshare_bench.report.epochs import epochs_study
from tests.report.test_studies import placements, tables_of
from tests.sim.test_epochs import DRAIN, point


def test_every_strategy_has_its_row_and_the_answer_says_what_each_costs() -> None:
    tables = tables_of([Cell(point(DRAIN, strategy)) for strategy in ("greedy", "planned", "never")])
    study = epochs_study(tables)
    assert study is not None
    assert [row[0] for row in study.rows] == ["shmem", "planned", "never", "greedy"]
    moves = {row[0]: int(row[1]) for row in study.rows[1:]}
    cells = {row["cell"]: row["placement"] for row in tables["cells"].to_pylist()}
    counted = [cells[row["cell"]] for row in tables["migrations"].to_pylist()]
    assert moves["greedy"] == sum(text.endswith("strategy=greedy") for text in counted)
    assert moves["never"] == sum(text.endswith("strategy=never") for text in counted)
    assert study.answer.startswith("Over 1,260 s, shmem costs ")
    assert "when never moving and" in study.answer
    assert study.draw({"shmem": "#0a0a0a"}).axes
    assert any("is drained" in note for note in study.notes)


def test_cells_without_epochs_are_no_such_study() -> None:
    assert epochs_study(placements()) is None
