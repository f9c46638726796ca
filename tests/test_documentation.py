"""Every command in the documentation is run, or says why not.

A block that begins with ```console holds commands after `$ `. It is run in an empty folder, unless a line
`<!-- not run here: why -->` stands right before it. Paths and identifiers in the output differ; the commands must end as the
block says (0, or `# exit N`).
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?P<before>[^\n]*)\n```console\n(?P<body>.*?)```", re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run here: \S.* -->")


def blocks():
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            line = page.read_text()[: match.start("body")].count("\n") + 1
            yield pytest.param(match["before"], match["body"], id=f"{page.name}:{line}")


def commands(body):
    joined = body.replace("\\\n", " ")
    return [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("before", "body"), list(blocks()))
def test_commands_run(before, body, tmp_path):
    found = commands(body)
    assert found, "a console block without a command"
    if NOT_RUN.fullmatch(before.strip()):
        return
    environment = {**os.environ, "COLUMNS": "120", "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}
    for command in found:
        text, _, comment = command.partition("  # ")
        expected = int(comment.removeprefix("exit ")) if comment.startswith("exit ") else 0
        words = shlex.split(text)
        if words[0] == "make":
            # What CI itself runs; here only that the target is there.
            assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
            continue
        assert words[0] == "mshare-bench", f"{command}: not a command that a test can run; mark the block"
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == expected, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr


def test_the_readme_begins_with_the_two_commands():
    first = commands(next(BLOCK.finditer((ROOT / "README.md").read_text()))["body"])
    assert [shlex.split(one)[:2] for one in first[:2]] == [["make", "bench"], ["make", "test"]]


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "code", [match[1] for page in PAGES for match in re.finditer(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
)
def test_python_runs(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
