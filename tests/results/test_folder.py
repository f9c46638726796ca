"""The folder of a store: who may write it, and what its `store.json` says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.folder import claim, read_info
from mshare_bench.results.store import Store

INFO = {"name": "n", "sweep": "s", "id": "i", "created": "2026-01-01T00:00:00+00:00", "config": {}, "tracking": {}}


def test_two_writers_are_refused_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from mshare_bench.results.store import Store; s = Store.create(sys.argv[1], 'a');"
        "print('x', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreError, match=f"in use by another run.*{other.pid}"):
            Store.create(tmp_path, "b")
        Store.open(tmp_path)  # reading is fine
        other.kill()
    with Store.create(tmp_path, "b") as store:
        assert store.info.name == "a"


def test_a_lock_is_let_go_and_names_who_has_it(tmp_path: Path) -> None:
    first = claim(tmp_path / "made" / "on" / "the" / "way")
    with pytest.raises(StoreError, match=rf"in use by another run \(process {os.getpid()}\)"):
        claim(tmp_path / "made" / "on" / "the" / "way")
    first.release()
    first.release()
    claim(tmp_path / "made" / "on" / "the" / "way").release()


def test_what_a_dead_writer_left_half_written_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    kept = [tmp_path / "store.json", tmp_path / "thesis.tex", tmp_path / "parts" / "00000001.arrow"]
    for path in [*kept, tmp_path / ".cells.arrow.tmp", tmp_path / "parts" / ".00000002.arrow.tmp"]:
        path.write_text("{}")
    claim(tmp_path).release()
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, tmp_path / ".lock"}


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"name": "n"}', "\x00"])
def test_a_store_json_that_is_none_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / "store.json").write_text(broken)
    with pytest.raises(StoreError, match=r"store\.json: not readable"):
        read_info(tmp_path)


@pytest.mark.parametrize("more", [{}, {"of_a_newer_version": 1}])
def test_a_newer_versions_fields_are_left_out(tmp_path: Path, more: dict[str, Any]) -> None:
    assert read_info(tmp_path) is None
    (tmp_path / "store.json").write_text(json.dumps(INFO | more))
    assert read_info(tmp_path) == INFO
    assert Store.open(tmp_path).info.name == "n"
