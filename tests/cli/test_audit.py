"""`mshare-bench audit`."""

import json
import os
from pathlib import Path

import pytest

from mshare_bench.cli import main
from tests.requirements import require

pytestmark = pytest.mark.usefixtures("own_folder")


def test_audit_of_this_process(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    require("kernel", Path("/proc/self/pagemap").exists(), "this kernel shows no pagemap")
    assert main(["audit", "--pid", str(os.getpid()), "--arrow", f"{tmp_path}/a.arrow", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert {path.name for path in tmp_path.glob("*.arrow")} == {"a.arrow", "a-processes.arrow"}
