"""What can be typed: what the files hold, what a composition has, and what a real bash makes of it."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.words import completions, help_text

VERBS = ("plan", "report", "run", "show", "sync")


def completed(typed: str) -> set[str]:
    return set(completions(f"mshare-bench {typed}", VERBS))


def test_help_names_the_groups_and_keys_that_there_are() -> None:
    text, composer = help_text("mshare-bench run"), Composer()
    for group in composer.groups:
        assert f"\n{group}: {', '.join(composer.options(group))}\n" in text
    assert "\nprocesses: null\n" in text and "  # A CPU for every process.\n  exclusive: false\n" in text
    assert "defaults:" not in text and "hydra:" not in text


def test_words_become_verbs_flags_groups_keys_and_values() -> None:
    assert completed("") == {f"{verb} " for verb in VERBS}
    assert completed("s") == {"show ", "sync "}
    assert completed("show ") == set()  # files, which the shell knows
    assert completed("run --mul") == {"--multirun "}
    assert completed("run mech") == {"mechanism=", "mechanism."}
    assert completed("run -m mechanism=shmem,hug") == {"mechanism=shmem,hugetlb"}
    assert completed("plan mechanism.pmd") == {"mechanism.pmd_sharing="}
    assert completed("run real.s") == {"real.scale="}
    assert completed("run executor=") == {"executor=auto", "executor=inline", "executor=ray"}
    assert completed("run +sweep=g") == {"+sweep=grid"}
    assert completed("run region=") == set()


def test_every_key_that_is_offered_composes() -> None:
    sections = {one for one in completed("run ") if one.endswith(".")}
    assert {"real.", "mechanism.", "workload."} <= sections
    keys = {one for one in completed("run ") if one.endswith("=")}.union(*(completed(f"run {one}") for one in sections))
    composer = Composer()
    choices = ("workload", "mechanism", "access", "placement", "sweep", "tracking")
    known = {key for group in choices for one in composer.options(group) for key in _keys(composer, group, one)}
    assert {key.rstrip("=") for key in keys} - set(composer.groups) - known == set()


def _keys(composer: Composer, group: str, choice: str) -> set[str]:
    values = composer.compose([f"{group}={choice}"]).values
    sections = {key.partition(".")[0] for key in values}
    return {key for key in values if not key.startswith("mechanism_options.")} | sections


def test_choices_of_ones_own_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "mshare-bench/conf/cost").mkdir(parents=True)
    (tmp_path / "mshare-bench/conf/cost/desk.yaml").write_text("name: [half-written")
    assert completed("run cost=d") == {"cost=desk"}


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("ru", "mshare-bench run "),
        ("run mechanism=huge", "mshare-bench run mechanism=hugetlb"),
        ("run -m mechanism=shmem,huge", "mshare-bench run -m mechanism=shmem,hugetlb"),
        ("run real.sca", "mshare-bench run real.scale="),
        ("show resu", "mshare-bench show results"),
    ],
)
def test_bash_completes(tmp_path: Path, typed: str, shown: str) -> None:
    (tmp_path / "results").mkdir()
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
    leader, follower = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=follower, stdout=follower, stderr=follower,
        cwd=tmp_path, env=environment, start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(follower)
        try:
            os.write(leader, b'eval "$(mshare-bench -sc install=bash)"; echo in${x}stalled\n')
            _read_until(leader, "\ninstalled")
            os.write(leader, f"mshare-bench {typed}\t".encode())
            _read_until(leader, shown)
        finally:
            shell.kill()
            os.close(leader)


def _read_until(terminal: int, wanted: str) -> None:
    seen, until = "", time.monotonic() + 30
    while wanted not in seen.replace("\r", ""):
        assert time.monotonic() < until, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
