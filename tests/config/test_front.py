"""Hydra at the front: what it hands on, and what it answers itself."""

import os
from pathlib import Path

import pytest

from mshare_bench.config.front import Invocation, invoke
from mshare_bench.errors import ConfigError

pytestmark = pytest.mark.usefixtures("own_folder")


def test_single_and_multirun_hand_their_overrides_on() -> None:
    assert invoke(["processes=3", "mechanism=shmem"], "p") == Invocation(("processes=3", "mechanism=shmem"), False)
    assert invoke(["-m", "processes=3,4"], "p") == Invocation(("processes=3,4",), True)
    assert invoke(["processes=3,4", "--multirun", "mechanism=all"], "p") == Invocation(
        ("processes=3,4", "mechanism=all"), True
    )
    assert list(Path().iterdir()) == []


def test_an_experiment_may_be_a_multirun(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "many.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\nprocesses: 3\n")
    given = ["experiment=many", "processes=1,2", "--config-dir", str(tmp_path)]
    assert invoke(given, "p") == Invocation(("experiment=many", "processes=1,2"), True, "config", str(tmp_path))


def test_an_axis_without_multirun_shows_the_form() -> None:
    with pytest.raises(ConfigError, match="run -m processes=1,2 mechanism=shmem"):
        invoke(["processes=1,2", "mechanism=shmem"], "p")


def test_flags_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--cfg", "job"], "p") is None
    assert "name: headline" in capsys.readouterr().out
    assert invoke(["--help"], "p") is None
    assert "p is powered by Hydra" in capsys.readouterr().out
    assert invoke(["--help", "mechanism=mshare"], "p") is None
    assert "interface: msharefs" in capsys.readouterr().out
    assert invoke(["--info", "searchpath"], "p") is None
    assert "mshare_bench.conf" in capsys.readouterr().out


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pickle"):
        invoke(["--experimental-rerun", str(tmp_path / "config.pickle")], "p")


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(ConfigError):
        invoke(["processes"], "p")
    assert "HYDRA_FULL_ERROR" not in os.environ
