"""`mshare-bench show`."""

from pathlib import Path

import pytest

from mshare_bench.cli import main

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_table_and_the_answer_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "-m", "mechanism=shmem,mshare", "processes=100", "tracking=none", f"out={tmp_path}/o"]) == 0
    shown = capsys.readouterr().out
    assert "mshare" in shown and "200.8 MiB" in shown
    assert main(["show", f"{tmp_path}/o"]) == 0
    assert "200.8 MiB" in capsys.readouterr().out


def test_corrupt_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cells.arrow").write_bytes(b"ARROW1\0\0 no, not really")
    assert main(["show", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert len(output.err.splitlines()) == 1 and "cells.arrow" in output.err


def test_no_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["show", f"{tmp_path}/nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
