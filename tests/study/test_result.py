"""What a run leaves behind, loaded."""

from pathlib import Path

import pytest

import mshare_bench
from mshare_bench.errors import StoreError
from mshare_bench.results.schema import schema
from mshare_bench.results.store import Store
from mshare_bench.study.result import Result, load
from tests.results.sample import cell_of, rows_of

pytestmark = pytest.mark.usefixtures("own_folder")


def test_run_and_load_give_the_same_rows(tmp_path: Path) -> None:
    result = mshare_bench.run(
        mechanism=["shmem", "mshare"], processes=[1, 10], region="64MiB", tracking="none", out=tmp_path / "o"
    )
    assert result.statuses == {"ok": 4}
    loaded = mshare_bench.load(tmp_path / "o")
    assert loaded.cells.equals(result.cells)
    assert loaded.table("groups")["processes"].to_pylist() == result.table("groups")["processes"].to_pylist()
    saved = {(row["mechanism"], row["processes"]): row["page_table_saved_bytes"] for row in loaded.cells.to_pylist()}
    # One process saves nothing; ten share what one needs.
    one = 32 * 4096 + 2 * 4096
    assert saved == {("shmem", 1): 0, ("mshare", 1): 0, ("shmem", 10): 0, ("mshare", 10): 9 * one}


def test_the_latest_status_of_every_cell_counts(tmp_path: Path) -> None:
    cells = [cell_of("shmem"), cell_of("thp"), cell_of("mshare", engine="real")]
    with Store.create(tmp_path / "o", "s") as store:
        store.append(rows_of(cells, failing=("shmem", "thp")).tables())
        assert Result(tmp_path / "o", store).statuses == {"failed": 2, "skipped": 1}
        store.append(rows_of(cells, failing=("thp",)).tables())
        assert Result(tmp_path / "o", store).statuses == {"ok": 1, "failed": 1, "skipped": 1}


@pytest.mark.parametrize("name", ["", "cells.arrow", "store.json"])
def test_a_folder_is_loaded_by_what_is_in_it_too(tmp_path: Path, name: str) -> None:
    with Store.create(tmp_path / "o", "s") as store:
        store.append(rows_of([cell_of("shmem")]).tables())
        store.compact()
    result = load(tmp_path / "o" / name)
    assert result.path == tmp_path / "o"
    assert result.cells["mechanism"].to_pylist() == ["shmem"]
    # Loading locks nothing: whoever fills it goes on.
    Store.create(tmp_path / "o", "s").close()


def test_a_table_without_rows_is_empty_and_one_that_is_none_an_error(tmp_path: Path) -> None:
    with Store.create(tmp_path / "o", "s") as store:
        store.append(rows_of([cell_of("shmem")]).tables())
    result = load(tmp_path / "o")
    assert result.table("migrations").equals(schema("migrations").empty_table())
    with pytest.raises(KeyError, match="profits"):
        result.table("profits")
    with pytest.raises(StoreError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
