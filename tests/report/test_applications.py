"""What programs say of themselves, by scene and mechanism."""

import dataclasses

from rich.console import Console

from mshare_bench.report.applications import figure_rows, figures_said
from mshare_bench.results.rows import Rows
from tests.results.sample import rows_of, sweep


def tables():
    cells = [one for one in sweep(engines=("real",)) if one.point.mechanism in ("shmem", "hugetlb")]
    rows = rows_of(cells)
    for one in cells:
        for repeat, value in enumerate((10.0, 30.0, 20.0)):
            slow = 100.0 if one.point.mechanism == "shmem" else 1.0
            key = dataclasses.replace(one, repeat=repeat)
            rows.add("figures", cell=key.digest, repeat=repeat, figure="queries_per_second", value=value * slow, unit="1/s",
                     better="higher")  # fmt: skip
        rows.add(
            "figures",
            cell=one.digest,
            repeat=0,
            figure="machine_page_table_growth",
            value=1e9,
            unit="B",
            better="lower",
        )
        rows.add("figures", cell=one.digest, repeat=0, figure="storm_wall", value=None, unit="s", better="lower")
    return Rows.merge([rows.tables()])


def test_repeats_are_their_median_and_what_nobody_knows_is_left_out():
    made = tables()
    rows = figure_rows(made["cells"], made["figures"])
    assert {row["figure"] for row in rows} == {"queries_per_second"}
    assert {row["value"] for row in rows if row["mechanism"] == "shmem"} == {2000.0}
    assert {row["value"] for row in rows if row["mechanism"] == "hugetlb"} == {20.0}


def test_a_line_has_all_mechanisms_of_a_scene():
    made = tables()
    console = Console(width=200, record=True)
    console.print(figures_said(made["cells"], made["figures"]))
    lines = [line for line in console.export_text().splitlines() if "queries per second" in line]
    assert lines
    assert all("2,000 1/s with shmem" in line and "20 1/s with hugetlb" in line for line in lines)


def test_shares_are_percent_and_what_did_not_grow_is_not_told():
    cells = [one for one in sweep(engines=("real",)) if one.point.mechanism == "shmem"][:1]
    rows = rows_of(cells)
    for figure, value, unit in (("audit_attributed", 0.9975, "1"), ("other_page_table_growth", 0.0, "B")):
        rows.add("figures", cell=cells[0].digest, repeat=0, figure=figure, value=value, unit=unit, better="none")
    made = Rows.merge([rows.tables()])
    console = Console(width=200, record=True)
    console.print(figures_said(made["cells"], made["figures"]))
    text = console.export_text()
    assert "share of tables that the audit explains: 99.75 % with shmem" in text
    assert "grew" not in text
