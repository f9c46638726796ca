"""What the errors raised on purpose become at the command line: one line on the error stream, and an exit code."""

import inspect

import pytest

from mshare_bench import cli, errors

CODES = {
    "MshareBenchError": 2,
    "ConfigError": 2,
    "PlacementError": 2,
    "StoreError": 2,
    "CapabilityError": 2,
    "GuardError": 3,
    "CellFailed": 1,
}
"""0 done, 1 some cells failed, 2 bad usage or configuration, 3 refused by the memory guard (README, "Exit codes")."""


def test_every_error_has_its_code_written_down_here() -> None:
    defined = {name for name, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__}
    assert defined == set(errors.__all__) == set(CODES)


@pytest.mark.parametrize("name", CODES)
def test_an_error_is_one_line_and_its_code_and_no_traceback(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(given: list[str]) -> int:
        raise getattr(errors, name)("processes=-3: must be positive\n(said on two lines)")

    monkeypatch.setattr(cli, "_main", fails)
    assert cli.main(["run"]) == CODES[name]
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("mshare-bench: processes=-3: must be positive")


def test_a_defect_of_ours_is_not_dressed_up_as_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(given: list[str]) -> int:
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "_main", breaks)
    with pytest.raises(ValueError, match="a defect"):
        cli.main(["run"])


def test_the_guard_says_what_would_fit() -> None:
    assert errors.GuardError("too large", 17).largest_processes == 17
    assert issubclass(errors.PlacementError, errors.ConfigError)
