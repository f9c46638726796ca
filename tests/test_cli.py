"""The command line as a whole, called in this process; a few commands through the installed program. Verbs: `tests/cli/`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mshare_bench.cli import VERBS, main
from mshare_bench.mechanisms.registry import mechanisms

pytestmark = pytest.mark.usefixtures("own_folder")


PROGRAM = [sys.executable, "-m", "mshare_bench"]


@pytest.mark.parametrize("arguments", [["rnu"], ["shw", "x"]])
def test_unknown_verb(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"], ["show", "a", "b"], ["report"], ["sync"], ["doctor", "x"], ["ui", "a", "b"], ["compare", "a"],
        ["compare", "nowhere", "neither"], ["compare", "a", "b", "--fail-if-worse", "much"],
        ["compare", "a", "b", "--drift", "some"], ["baseline", "save", "x"],
        ["baseline", "drop"], ["audit", "--all", "--pid", "1"], ["audit", "--pid", "no-such-name-*"], ["audit", "--top", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_of_every_verb(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out


def test_hydra_answers_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--cfg", "job", "mechanism=all", "mechanism.pmd_sharing=false"]) == 0
    assert "pmd_sharing: false" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0
    assert "mechanism: all, " in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_completion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        assert main(["-sc", "query=bash"]) == 0
        return capsys.readouterr().out.split()

    assert set(completed("mshare-bench ")) <= set(VERBS)
    assert set(completed("mshare-bench s")) == {"show", "sync"}
    assert "mechanism=hugetlb" in completed("mshare-bench run mechanism=hug")
    assert "processes=" in completed("mshare-bench plan proc")
    assert main(["-sc", "install=bash"]) == 0
    assert "complete -o nospace" in capsys.readouterr().out


def test_the_installed_program_fails_in_one_line() -> None:
    done = subprocess.run([*PROGRAM, "run", "mechanism=nope"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_the_installed_program_runs_from_another_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "run", "engine=sim", "processes=1000", "region=1GiB", "tracking=none", "--json"],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {row["mechanism"] for row in json.loads(done.stdout)} == set(mechanisms())


HEAVY = {"numpy", "pyarrow", "ray", "mlflow", "numba", "scipy", "pandas", "matplotlib", "rich"}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], HEAVY | {"hydra"}),
        (["run", "--help"], HEAVY),
        (["run", "processes=3", "mechanism=shmem", "tracking=none", "--quiet"], HEAVY - {"numpy", "pyarrow"}),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_that_is_not_used(arguments: list[str], absent: set[str]) -> None:
    code = (
        "import sys; from mshare_bench.cli import main; code = main(sys.argv[1:]);"
        f"print(code, sorted({absent!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "0 []"
