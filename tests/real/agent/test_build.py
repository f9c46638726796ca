import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from mshare_bench.real.agent import build
from tests.requirements import require


def test_every_source_in_the_folder_is_part_of_the_digest() -> None:
    folder = Path(build.__file__).parent
    assert set(build.SOURCES) == {file.name for file in folder.iterdir() if file.suffix in {".c", ".h"}}


def test_the_digest_changes_with_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(build.__file__).parent
    for name in build.SOURCES:
        shutil.copy(folder / name, tmp_path)
    before = build.digest()
    monkeypatch.setattr(build, "_FOLDER", tmp_path)
    assert build.digest() == before
    (tmp_path / "ops.c").write_text("changed")
    assert build.digest() != before


def test_builds_a_static_binary_without_interpreter(tmp_path: Path) -> None:
    require("kernel", bool(build.find_compilers()), "no C compiler")
    path, _ = build.build_agent(tmp_path / "new")
    assert path is not None
    assert path.name == build.binary_name()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert list((tmp_path / "new").iterdir()) == [path]
    assert b"ld-linux" not in path.read_bytes()
    # Without the controller's arguments it goes away at once.
    assert subprocess.run([path, "exit"], timeout=10, check=False).returncode == 0
    assert subprocess.run([path], timeout=10, check=False).returncode == 2


def test_the_sources_compile_without_a_warning(tmp_path: Path) -> None:
    compilers = build.find_compilers()
    require("kernel", bool(compilers), "no C compiler")
    strict = [*compilers[0], "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    path, failures = build.build_agent(tmp_path, [strict])
    assert (path is not None, failures) == (True, [])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_zig_compiles_for_both_architectures(tmp_path: Path, machine: str) -> None:
    zig = build.zig_command(machine)
    require("compiler", zig is not None, "the ziglang wheel is not installed")
    path, failures = build.build_agent(tmp_path, [[*zig, "-Wall", "-Wextra", "-Werror"]])
    assert (path is not None, failures) == (True, [])


def test_a_compiler_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'x.c:1: error: no luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    into = tmp_path / "bin"
    path, failures = build.build_agent(into, [[str(broken)], [str(tmp_path / "absent")]])
    assert path is None
    assert len(failures) == 2
    assert "no luck" in failures[0]
    assert list(into.iterdir()) == []


def test_the_next_compiler_is_tried(tmp_path: Path) -> None:
    compilers = build.find_compilers()
    require("kernel", bool(compilers), "no C compiler")
    path, failures = build.build_agent(tmp_path, [["/nonexistent/cc"], *compilers])
    assert path is not None
    assert len(failures) == 1
