"""An audit kept as a run: its rows add up, and a store, a report and MLflow take them like any other's."""

import json
import os

import pytest

from mshare_bench.audit.rows import audit_rows
from mshare_bench.cli import main
from mshare_bench.results.store import Store
from tests.audit.made_up import audit_of, buffers, library
from tests.requirements import require


def test_rows_say_what_is_left_with_each_way():
    audit = audit_of(buffers(), library())
    tables = audit_rows(audit, "machine", "2026-01-01T00:00:00.000+00:00").tables()
    rows = {(row["mechanism"], row["engine"]): row for row in tables["cells"].to_pylist()}
    assert rows["shmem", "real"]["page_table_bytes"] == sum(one.vmpte_bytes for one in audit.processes)
    assert rows["shmem", "real"]["point"] == rows["shmem", "sim"]["point"]
    assert len({row["baseline_point"] for row in rows.values()}) == 1
    own = rows["shmem", "sim"]["page_table_bytes"]
    assert own == sum(one.attributed_bytes for one in audit.processes)
    for mechanism in ("mshare", "hugetlb", "thp"):
        saved = sum(getattr(one, f"saved_{mechanism}_bytes") or 0 for one in audit.objects)
        assert own - rows[mechanism, "sim"]["page_table_bytes"] == saved > 0
    objects = tables["regions"].to_pylist()
    assert [row["page_table_bytes"] for row in objects] == [one.table_bytes for one in audit.objects]
    again = audit_rows(audit, "machine", "2026-01-01T00:00:01.000+00:00").tables()
    assert again["cells"]["point"][0] != tables["cells"]["point"][0], "two audits are two scenes"


@pytest.mark.kernel
@pytest.mark.usefixtures("own_folder")
def test_the_verb_keeps_it_and_mlflow_hears_of_it(tmp_path, capsys):
    require("kernel", os.path.exists("/proc/self/pagemap"), "this kernel shows no pagemap")
    arguments = ["audit", "--pid", str(os.getpid()), "--out", str(tmp_path / "kept")]
    assert main([*arguments, "--json", "--no-tracking"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.glob("**/mlflow.db"))
    (row,) = [one for one in Store.open(tmp_path / "kept").table("cells").to_pylist() if one["engine"] == "real"]
    assert row["page_table_bytes"] == sum(one["vmpte_bytes"] for one in found["processes"])
    assert (tmp_path / "kept" / "report.html").is_file()
    assert main([*arguments, "--quiet"]) == 0
    assert list(tmp_path.glob("**/mlflow.db"))
    assert Store.open(tmp_path / "kept").table("cells").num_rows == 10, "two audits, side by side"
    assert main(["show", str(tmp_path / "kept")]) == 0
    assert "audit" in capsys.readouterr().out
