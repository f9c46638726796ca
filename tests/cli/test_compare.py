"""`mshare-bench compare` and `baseline`."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pytest

from mshare_bench.cli import main
from mshare_bench.results.store import Store
from mshare_bench.study import load
from tests.cli.printed import json_rows

pytestmark = pytest.mark.usefixtures("own_folder")


def test_compare_and_baseline(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    main(["run", "mechanism=shmem", "processes=10", "tracking=none", f"out={tmp_path}/before", "--quiet"])
    cells = load(tmp_path / "before").cells
    position = cells.schema.get_field_index("page_table_bytes")
    grown = pc.multiply(cells["page_table_bytes"], 2)
    with Store.create(tmp_path / "after", "after") as store:
        store.append({"cells": cells.set_column(position, cells.schema.field(position), grown)})
    assert main(["baseline", "save", "good", f"{tmp_path}/before"]) == 0
    capsys.readouterr()
    assert [row["name"] for row in json_rows(capsys, "baseline", "list")] == ["good"]
    assert main(["compare", "good", f"{tmp_path}/after"]) == 0
    assert "worse" in capsys.readouterr().out
    assert main(["compare", "good", f"{tmp_path}/after", "--fail-if-worse", "5%", "--quiet"]) == 4
    assert main(["compare", "good", f"{tmp_path}/after", "--fail-if-worse", "150%", "--quiet"]) == 0
    assert main(["compare", "good", f"{tmp_path}/before", "--fail-if-worse", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["only_first"] == 0
