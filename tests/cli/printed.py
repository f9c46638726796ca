"""What the command line printed, for the tests of its verbs."""

import json
from typing import Any

import pytest

from mshare_bench.cli import main

__all__ = ["json_rows"]


def json_rows(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == code
    rows = json.loads(capsys.readouterr().out)
    assert isinstance(rows, list)
    return rows
