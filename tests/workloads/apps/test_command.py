"""`app_command` on the command line: its lists come from there alone, and errors are one line."""

import json
import os

import pytest

from mshare_bench.cli import main
from tests.requirements import require

pytestmark = pytest.mark.usefixtures("own_folder")


def test_without_a_command_it_says_what_to_give(capsys):
    assert main(["run", "workload=app_command", "tracking=none"]) == 2
    assert (
        "workload.start: app_command has no default of it; say 'workload.start=[prog,arg]'" in capsys.readouterr().err
    )


@pytest.mark.parametrize("value", ["sleep", "[]", "{a: b}"])
def test_a_command_is_a_list(capsys, value):
    assert main(["run", "workload=app_command", f"workload.start={value}", "tracking=none"]) == 2
    error = capsys.readouterr().err
    assert "workload.start=" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# @package _global_\ndefaults: [{override /workload: app_command}]\nworkload: {start: [touch, owned]}\n",
        "# @package _global_\ndefaults: [{override /workload: app_command}]\npoints: [{workload.start: [touch, owned]}]\n",
        "# @package _global_\ndefaults: [{override /workload: app_command}]\n"
        "sweep: {axes: {workload.start: [[touch, owned]]}}\n",
    ],
)
def test_a_command_in_a_file_is_refused(tmp_path, capsys, text):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "theirs.yaml").write_text(text)
    assert main(["run", "--config-dir", str(tmp_path / "conf"), "experiment=theirs", "tracking=none"]) == 2
    assert "command line only" in capsys.readouterr().err
    assert not os.path.exists("owned")


@pytest.mark.kernel
def test_the_row_says_how_many_processes_there_are(tmp_path, capsys):
    require("kernel", os.geteuid() == 0, "reading another process's pagemap takes root")
    shared = tmp_path / "shared"
    shared.write_bytes(bytes(4 << 20))
    program = tmp_path / "program.py"
    program.write_text(
        f"import mmap, time\nfile = open('{shared}', 'r+b')\nmemory = mmap.mmap(file.fileno(), 0)\n"
        "for at in range(0, 4 << 20, 4096):\n    memory[at]\ntime.sleep(60)\n"
    )
    arguments = [f"workload.start=[python3,{program}]", "workload.duration=100ms", "engine=real"]
    assert main(["run", "workload=app_command", *arguments, f"workload.watch={shared}", "tracking=none", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["processes"], row["region_bytes"]) == (1, 4 << 20)
