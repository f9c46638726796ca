"""`mshare-bench report`."""

from pathlib import Path

import pytest

from mshare_bench.cli import main

pytestmark = pytest.mark.usefixtures("own_folder")


def test_report_is_written_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["run", "mechanism=shmem", "processes=1,10", "-m", "tracking=none", f"out={tmp_path}/o", "--quiet"])
    assert not (tmp_path / "o" / "report.html").exists()
    assert main(["report", f"{tmp_path}/o"]) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path}/o/report.html"
    assert "<html" in (tmp_path / "o" / "report.html").read_text()
