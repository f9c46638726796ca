"""An audit kept as a run."""

from pathlib import Path

import pytest

from mshare_bench.errors import StoreError
from mshare_bench.real.environment import machine_digest
from mshare_bench.study.audit import keep_audit
from mshare_bench.study.result import load
from tests.audit.made_up import audit_of, buffers, library


def test_audits_in_one_folder_lie_side_by_side_even_where_nothing_has_changed(tmp_path: Path) -> None:
    audit = audit_of(buffers(), library())
    first = keep_audit(audit, tmp_path / "o", print, track=False)
    once = first.cells.num_rows
    second = keep_audit(audit, tmp_path / "o", print, track=False)
    assert first.link is second.link is None
    assert load(tmp_path / "o").cells.num_rows == second.cells.num_rows == 2 * once > 0
    measured = [row for row in second.cells.to_pylist() if row["engine"] == "real"]
    assert len({row["point"] for row in measured}) == 2
    assert {row["page_table_bytes"] for row in measured} == {sum(one.vmpte_bytes for one in audit.processes)}


def test_rows_say_on_which_machine_and_a_report_is_beside_them(tmp_path: Path) -> None:
    result = keep_audit(audit_of(buffers()), tmp_path / "o", print, track=False)
    real = [row for row in result.cells.to_pylist() if row["engine"] == "real"]
    assert {row["machine"] for row in real} == {machine_digest()}
    facts = result.table("environments").to_pylist()
    assert {row["env"] for row in real} == {row["env"] for row in facts}
    assert "<html" in (tmp_path / "o" / "report.html").read_text()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="thesis.tex"):
        keep_audit(audit_of(buffers()), tmp_path, print, track=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
