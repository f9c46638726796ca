import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import TABLES, schema
from mshare_bench.results.store import Store
from tests.results.sample import cell_of, headline, rows_of, sweep


def _batches(count: int = 12) -> list[dict[str, pa.Table]]:
    cells = list(sweep(engines=("sim", "real"), repeats=2))
    return [rows_of(cells[start::count]).tables() for start in range(count)]


def _files(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.glob("*.arrow")}


def test_rows_come_back_as_they_went_in_before_and_after_compaction(tmp_path: Path) -> None:
    tables = headline().tables()
    with Store.create(tmp_path / "out", "headline") as store:
        store.append(tables)
        before = store.tables()
        store.compact()
        assert not list((store.path / "parts").iterdir())
    after = Store.open(tmp_path / "out").tables()
    assert set(before) == set(after) == set(tables)
    for name, table in after.items():
        assert table.equals(before[name])
        assert table.schema.equals(schema(name), check_metadata=True)
        assert table.num_rows == tables[name].num_rows
    mine = {(row["cell"], row["repeat"]): row for row in tables["cells"].to_pylist()}
    for row in after["cells"].to_pylist():
        expected = mine[row["cell"], row["repeat"]] | {"sweep": "headline"}
        assert {**row, "page_table_saved_bytes": None} == expected


def test_a_store_is_the_same_to_the_byte_whatever_the_order_of_its_parts(tmp_path: Path) -> None:
    batches = _batches()
    folders = []
    for seed in range(3):
        random.Random(seed).shuffle(batches)
        with Store.create(tmp_path / str(seed), f"name {seed}", sweep="one") as store:
            for number, batch in enumerate(batches):
                store.append(batch)
                if number == seed:
                    store.compact()
            store.compact()
        folders.append(_files(store.path))
    assert folders[0] == folders[1] == folders[2]
    assert set(folders[0]) >= {"cells.arrow", "phases.arrow", "samples.arrow", "environments.arrow"}


def test_a_store_is_the_same_to_the_byte_whatever_the_batches_are(tmp_path: Path) -> None:
    found = []
    for count in (1, 5, 135):
        with Store.create(tmp_path / str(count), "boundaries", sweep="one") as store:
            for batch in _batches(count):
                store.append(batch)
            store.compact()
        found.append(_files(store.path))
    assert found[0] == found[1] == found[2]


def test_what_an_older_version_lacks_stays_null_beside_new_rows(tmp_path: Path) -> None:
    first, second = rows_of([cell_of("shmem")]).tables(), rows_of([cell_of("mshare")]).tables()
    with Store.create(tmp_path, "older") as store:
        store.append(first)
        store.compact()
        _rewrite(tmp_path / "cells.arrow", "cells", "1.0", "data_bytes")
        _rewrite(tmp_path / "regions.arrow", "regions", "1.0", "cell")
        store.append(second)
        expected = second["cells"]["data_bytes"].to_pylist()
        assert expected[0] is not None
        for _ in range(2):
            cells = store.table("cells")
            assert dict(zip(*(cells[name].to_pylist() for name in ("mechanism", "data_bytes")), strict=True)) == {
                "mshare": expected[0],
                "shmem": None,
            }
            assert store.table("regions").num_rows == second["regions"].num_rows  # of the others it is not known whose
            store.compact()


def test_a_cell_run_again_replaces_its_rows_in_every_table(tmp_path: Path) -> None:
    cells = [cell_of("shmem"), cell_of("hugetlb")]
    with Store.create(tmp_path, "again") as store:
        store.append(rows_of(cells, failing=("hugetlb",)).tables())
        assert store.finished() == {(cells[0].digest, 0)}
        assert store.statuses()[cells[1].digest, 0] == "failed"
        for _ in range(2):
            store.append(rows_of(cells).tables())
            assert store.finished() == {(cell.digest, 0) for cell in cells}
            assert store.table("cells").num_rows == 2
            assert store.table("phases").num_rows == 12
            store.compact()
            assert store.table("cells").num_rows == 2
            assert store.table("phases").num_rows == 12
            assert store.finished() == {(cell.digest, 0) for cell in cells}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_torn_part_is_named_and_left_out(tmp_path: Path, damage: str) -> None:
    first, second = rows_of([cell_of("shmem")]).tables(), rows_of([cell_of("mshare")]).tables()
    with Store.create(tmp_path, "torn") as store:
        store.append(first)
        store.append(second)
        part = tmp_path / "parts" / "00000002.arrow"
        data = bytearray(part.read_bytes())
        if damage == "flipped":
            data[len(data) // 2] ^= 1
        part.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "empty": b""}[damage])
        assert store.table("cells")["mechanism"].to_pylist() == ["shmem"]
        assert store.torn == ("00000002.arrow",)
        store.append(second)
        store.compact()
        assert store.table("cells")["mechanism"].to_pylist() == ["mshare", "shmem"]
        assert not list((tmp_path / "parts").iterdir())


def _compact_and_die(folder: Path, left: int) -> bool:
    """Compact in a child that dies before its `left`-th change on disk; whether it got through."""
    child = os.fork()
    if child == 0:
        store = Store.create(folder, "crash")

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return call(*args, **kwargs)

            return wrapper

        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync")):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            try:
                store.compact()
            except BaseException:
                os._exit(1)
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


def test_compaction_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    batches = _batches(4)
    with Store.create(tmp_path / "whole", "whole", sweep="crash") as store:
        for batch in batches:
            store.append(batch)
        store.compact()
    expected = _files(tmp_path / "whole")
    start = tmp_path / "start"
    with Store.create(start, "crash", sweep="crash") as store:
        for batch in batches[:2]:
            store.append(batch)
        store.compact()
        store.append(rows_of(list(sweep()), failing=("shmem",)).tables())
        for batch in batches:
            store.append(batch)
    for step in range(100):
        folder = tmp_path / str(step)
        shutil.copytree(start, folder)
        through = _compact_and_die(folder, step)
        with Store.create(folder, "crash") as store:
            assert not list(folder.rglob(".*.tmp"))
            assert store.table("cells").num_rows == 135
            store.compact()
        assert _files(folder) == expected
        if through:
            break
    assert step > 20


def test_folders_that_are_not_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        Store.create(tmp_path, "x")
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="not a folder"):
        Store.create(tmp_path / "thesis.tex", "x")
    with pytest.raises(StoreError, match="can't be written"):
        Store.create("/proc/none", "x")
    with pytest.raises(StoreError, match="no such folder"):
        Store.open(tmp_path / "nothing")
    with pytest.raises(StoreError, match="no results"):
        Store.open(tmp_path)


def test_what_can_not_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with Store.create(tmp_path, "x") as store:
        store.append(headline().tables())
        store.compact()
    cells = tmp_path / "cells.arrow"
    cells.write_bytes(cells.read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"cells\.arrow: not a readable table"):
        Store.open(tmp_path).table("cells")
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError, match=r"store\.json: not readable"):
        Store.open(tmp_path)


def _rewrite(path: Path, name: str, version: str, change: str | None) -> None:
    table = pa.ipc.open_file(path).read_all()
    if "invented" in table.column_names:
        table = table.drop_columns(["invented"])
    if change == "added":
        table = table.append_column("invented", pa.nulls(table.num_rows, pa.int64()))
    elif change is not None:
        table = table.drop_columns([change])
    table = table.replace_schema_metadata({"schema_version": version, "table": name})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def test_minor_versions_are_read_and_another_major_is_refused(tmp_path: Path) -> None:
    with Store.create(tmp_path, "x") as store:
        store.append(headline().tables())
        store.compact()
        expected = store.table("cells")
    _rewrite(tmp_path / "cells.arrow", "cells", "1.7", "added")
    assert Store.open(tmp_path).table("cells").equals(expected)
    _rewrite(tmp_path / "cells.arrow", "cells", "1.0", "shootdowns")
    assert Store.open(tmp_path).table("cells").equals(expected)
    _rewrite(tmp_path / "cells.arrow", "cells", "2.0", None)
    with pytest.raises(StoreError, match=r"schema_version 2\.0.*convert"):
        Store.open(tmp_path).table("cells")


@pytest.mark.parametrize(
    "folder", sorted((Path(__file__).parents[1] / "data/stores").iterdir()), ids=lambda one: one.name
)
def test_stores_of_every_past_version_are_read(folder: Path) -> None:
    store = Store.open(folder)
    assert store.info.schema_version == folder.name
    tables = store.tables()
    assert {"cells", "regions", "groups", "phases", "environments", "samples"} <= set(tables)
    rows = tables["cells"].to_pylist()
    shmem = next(row for row in rows if row["mechanism"] == "shmem" and row["processes"] == 10_000)
    mshare = next(row for row in rows if row["mechanism"] == "mshare" and row["processes"] == 10_000)
    assert shmem["page_table_bytes"] == 21_053_440_000
    assert mshare["page_table_saved_bytes"] == 21_053_440_000 - 2_105_344
    assert all(table.schema.equals(schema(name), check_metadata=True) for name, table in tables.items())


def test_tables_that_are_not_in_the_contract_are_refused(tmp_path: Path) -> None:
    with Store.create(tmp_path, "x") as store:
        with pytest.raises(KeyError, match="profits"):
            store.append({"profits": headline().tables()["cells"]})
        with pytest.raises(KeyError, match="invented"):
            store.append({"cells": headline().tables()["cells"].append_column("invented", pa.nulls(15))})
        assert store.table("migrations").equals(schema("migrations").empty_table())
        assert set(TABLES) > set(store.tables())
    with pytest.raises(StoreError, match="not open for writing"):
        Store.open(tmp_path).append(Rows().tables())


def test_state_of_tracking_is_kept(tmp_path: Path) -> None:
    with Store.create(tmp_path, "x", sweep="s", config={"processes": 3}) as store:
        store.note_tracking({"uri": "sqlite:///x"})
    again = Store.open(tmp_path)
    assert again.info.tracking == {"uri": "sqlite:///x"}
    assert again.info.config == {"processes": 3}
    assert json.loads((tmp_path / "store.json").read_text())["sweep"] == "s"


def test_disk_errors_are_store_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    with Store.create(tmp_path, "x") as store:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.append(headline().tables())
        monkeypatch.undo()
        assert store.tables() == {}
        assert not list((tmp_path / "parts").iterdir())
