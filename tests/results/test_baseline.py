from pathlib import Path

import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.baseline import baselines_folder, list_baselines, resolve, save_baseline
from mshare_bench.results.store import Store
from tests.results.sample import cell_of, headline, rows_of


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def _store(path: Path, sweep: str = "0123456789abcdef") -> Store:
    with Store.create(path, path.name, sweep=sweep) as store:
        store.append(headline().tables())
        store.note_tracking({"done": True})
    return Store.open(path)


def test_a_baseline_is_a_copy_that_stays(tmp_path: Path) -> None:
    store = _store(tmp_path / "out")
    path = save_baseline("v6.18", store)
    assert path == baselines_folder() / "v6.18"
    saved = resolve("v6.18")
    assert saved.table("cells").equals(store.table("cells"))
    assert (saved.info.id, saved.info.sweep, saved.info.tracking) == (store.info.id, store.info.sweep, {})
    (listed,) = list_baselines()
    assert (listed.name, listed.rows, listed.sweep) == ("v6.18", 15, store.info.sweep)
    assert [one.name for one in baselines_folder().iterdir()] == ["v6.18"]


def test_a_name_that_is_taken_is_refused_or_replaced(tmp_path: Path) -> None:
    store = _store(tmp_path / "out")
    save_baseline("a", store)
    with pytest.raises(StoreError, match="there is one already"):
        save_baseline("a", store)
    with Store.create(tmp_path / "other", "other") as other:
        other.append(rows_of([cell_of("shmem")]).tables())
        save_baseline("a", other, replace=True)
    assert resolve("a").table("cells").num_rows == 1


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b", "x" * 65])
def test_names_can_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="letters, digits"):
        save_baseline(name, _store(tmp_path / "out"))


def test_paths_files_and_sweeps_are_found(tmp_path: Path) -> None:
    _store(tmp_path / "runs" / "one", "aaaaaaaabbbbbbbb")
    runs = tmp_path / "runs"
    assert resolve(str(runs / "one")).path == runs / "one"
    with Store.open(runs / "one", write=True) as store:
        store.compact()
    assert resolve(str(runs / "one" / "cells.arrow")).path == runs / "one"
    assert resolve("aaaaaaaab", runs).path == runs / "one"
    for text in ("aaaa", "ffffffffffff", "nothing"):
        with pytest.raises(StoreError, match=f"{text}: no results there"):
            resolve(text, runs)
