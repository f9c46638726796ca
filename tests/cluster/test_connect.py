"""A Ray to run on: what is answered where there is none. That a local one comes and goes is in `test_ray`."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from mshare_bench.cluster.connect import auth_mode, joined_ray, remove_orphans
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:port", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="must be host:port"), joined_ray(address):
        pass


def test_nothing_answers() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cluster.address={address}: nothing answers"), joined_ray(address):
            pass


@pytest.mark.parametrize(
    ("loopback", "mode", "token", "answer"),
    [
        (False, None, "ab", "token"),
        (False, None, None, None),
        (False, "token", None, None),
        (False, "disabled", None, "disabled"),
        (True, None, None, "disabled"),
        (True, None, "ab", "token"),
        (True, "token", None, None),
    ],
)
def test_off_loopback_a_token_is_asked_for(
    loopback: bool,
    mode: str | None,
    token: str | None,
    answer: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("RAY_AUTH_MODE", mode), ("RAY_AUTH_TOKEN", token), ("RAY_AUTH_TOKEN_PATH", None)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    if answer is not None:
        assert auth_mode("host:1", loopback) == answer
        return
    with pytest.raises(ConfigError, match="cluster.address=host:1: its token is missing"):
        auth_mode("host:1", loopback)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("ab")
    assert auth_mode("host:1", loopback) == "token"


def test_folders_of_runs_that_were_killed_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone, here, other = (tmp_path / f"mshare-ray-{pid}-x" for pid in (ended.pid, os.getpid(), "name"))
    for folder in (gone, here, other):
        (folder / "session").mkdir(parents=True)
    remove_orphans(tmp_path)
    assert [folder.exists() for folder in (gone, here, other)] == [False, True, True]
