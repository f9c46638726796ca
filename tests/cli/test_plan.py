"""`mshare-bench plan`."""

import json
from pathlib import Path

import pytest

from mshare_bench.cli import main
from mshare_bench.mechanisms.registry import mechanisms
from tests.cli.printed import json_rows

pytestmark = pytest.mark.usefixtures("own_folder")


def test_without_a_coordinate_the_headline_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "tracking=none", "real.processes=5", "guard.reserve=0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    predicted = {row["mechanism"] for row in rows if (row["processes"], row["engine"]) == (10_000, "sim")}
    assert predicted == set(mechanisms())
    assert {row["engine"] for row in rows if row["processes"] == 5} == {"sim", "real"}
    assert {row["region_bytes"] for row in rows} == {1 << 30}


def test_plan_runs_nothing_and_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["-m", "mechanism=shmem,mshare", "processes=1,2", "tracking=none", f"out={tmp_path}/o"]
    assert {row["why"] for row in json_rows(capsys, "plan", *command)} == {"new"}
    assert not (tmp_path / "o").exists()
    json_rows(capsys, "run", "mechanism=shmem", *command[2:], "-m")
    rows = json_rows(capsys, "plan", *command)
    assert {(row["mechanism"], row["state"]) for row in rows} == {("shmem", "done"), ("mshare", "runs")}
    assert main(["plan", *command]) == 0
    assert "4 cells: 2 would run" in capsys.readouterr().out
