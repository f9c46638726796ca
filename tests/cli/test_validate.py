"""`mshare-bench validate`."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mshare_bench.cli import main
from mshare_bench.study import load
from tests.requirements import require

pytestmark = pytest.mark.usefixtures("own_folder")


MINE = """schema_version: 1
targets:
  - {id: mine, model: fork, source: mine, unit: {x: GiB, y: ms}, fit: [1, 2], rows: {1: 10, 2: 20, 4: %s}, tolerance: 0.1}
"""


def validated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], last: str, *more: str
) -> tuple[int, list[dict[str, Any]]]:
    (tmp_path / "mine.yaml").write_text(MINE % last)
    given = [
        "validate",
        "real.scale=small",
        "tracking=none",
        f"out={tmp_path}/v",
        "--targets",
        f"{tmp_path}/mine.yaml",
        *more,
    ]
    code = main([*given, "--json"])
    return code, json.loads(capsys.readouterr().out)


def finished(path: Path) -> dict[tuple[str, int], float | None]:
    rows = load(path).cells.to_pylist()
    return {(row["cell"], row["repeat"]): row["touch_ns"] for row in rows if row["status"] == "ok"}


@pytest.mark.kernel
def test_validate_holds_the_models_against_this_kernel_and_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("kernel", os.geteuid() == 0, "knobs and bytes of every mechanism take root")
    code, rows = validated(tmp_path, capsys, "40")
    failing = [row for row in rows if row["passed"] is False]
    assert failing == [] and code == 0
    assert {row["block"] for row in rows} == {"kernel", "published", "out_of_sample"}
    counts = [row for row in rows if row["quantity"] in ("page_table_bytes", "data_bytes", "minor_faults")]
    assert sum(row["block"] == "kernel" and row["passed"] is True for row in counts) >= 30
    with pa.ipc.open_file(tmp_path / "v" / "validation.arrow") as reader:
        assert reader.read_all().num_rows == len(rows)
    assert (tmp_path / "v" / "figures" / "validation.png").exists()
    # The same command goes on: no cell runs again. And a target that is missed ends with 4 and stays in the table.
    before = finished(tmp_path / "v")
    code, rows = validated(tmp_path, capsys, "80")
    assert code == 4
    missed = [row for row in rows if row["passed"] is False]
    assert {row["target"] for row in missed} == {"mine"}
    assert [row["coordinates"] for row in missed if row["block"] == "published"] == ["4 GiB"]
    assert finished(tmp_path / "v").items() >= before.items()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{id: a, model: astrology, source: s, tolerance: 0.1, rows: {1: 2}}", "target a: model=astrology: not one of"),
        ("{id: a, model: fork, tolerance: 0.1, rows: {1: 2}}", "a: source is missing"),
        (
            "{id: a, model: fork, source: s, tolerance: 0.1, rows: {1: 2, 2: 3}, fit: [1, 2]}",
            "target a: its model fork",
        ),
        ("{id: seed_article, model: fork, source: s, tolerance: 0.1, rows: {1: 2}}", "seed_article"),
    ],
)
def test_a_wrong_file_of_targets_is_one_line_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    (tmp_path / "t.yaml").write_text(f"schema_version: 1\ntargets: [{target}]\n")
    assert main(["validate", f"out={tmp_path}/v", "tracking=none", f"--targets={tmp_path}/t.yaml"]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert not (tmp_path / "v").exists()
