"""How the command line talks."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.terminal import ArgumentParser, Output, listed, observed, one_line, share


def test_rows_are_one_json_array_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).rows(pa.table({"a": [1, None]}))
    text = capsys.readouterr().out
    assert json.loads(text) == [{"a": 1}, {"a": None}]
    assert len(text.splitlines()) == 4
    Output(json=True).rows([])
    assert json.loads(capsys.readouterr().out) == []


def test_json_and_quiet_say_nothing_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).say("x")
    Output(quiet=True).say("x")
    Output(quiet=True).note("x")
    assert capsys.readouterr() == ("", "")
    Output().say("x")
    Output(json=True).note("y")
    assert capsys.readouterr() == ("x\n", "y\n")


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("150%", 1.5)])
def test_shares(text: str, value: float) -> None:
    assert share("--x", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["some", "-1%", "%", "inf", "nan"])
def test_no_shares(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--x={text}"):
        share("--x", text)


def test_lists_and_lines() -> None:
    assert listed(" a, b,,c ") == ["a", "b", "c"]
    assert one_line(ValueError("a\n  b")) == "a b"


def test_a_wrong_argument_is_raised() -> None:
    parser: argparse.ArgumentParser = ArgumentParser(prog="p")
    with pytest.raises(ConfigError, match="--no"):
        parser.parse_args(["--no"])


def test_notes_before_and_after_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    from mshare_bench.domain.cells import Cells
    from mshare_bench.sweep.plan import Plan

    with observed(Output()) as observer:
        observer.note("before")
        observer.planned(Plan(Cells.of([]), ()), (), Path("x"))
        observer.note("after")
        observer.finished({})
    assert capsys.readouterr().err.split() == ["before", "after"]
