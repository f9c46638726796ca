"""The study of placements: remote walks and tables as the rows have them, policies in their usual order."""

from mshare_bench.report.places import places_study
from mshare_bench.report.words import duration
from tests.report.test_studies import placements


def test_the_answer_is_about_the_topology_where_shared_tables_are_farthest() -> None:
    study = places_study(placements())
    assert study is not None
    assert study.answer.startswith("On xeon_4s, left to first touch, 75 % of mshare's page walks go to another node")
    assert "(0 % of shmem's, which has 128.5 MiB of tables)" in study.answer
    assert "takes that to 0 % for 8.03 MiB, 6.2 % of what shmem spends" in study.answer


def test_rows_are_in_order_of_policies_by_topology() -> None:
    study = places_study(placements())
    assert study is not None
    assert study.head == ("", "tables", "shmem", "remote", "cost", "mshare", "remote", "cost")
    names = [row[:2] if len(row) > 1 else row for row in study.rows]
    each = [("first touch", "first touch"), ("first touch", "replicate"), ("pack", "first touch")]
    assert names == [
        ("xeon_2s: 64 processes x 1 GiB",), *each, ("xeon_4s: 64 processes x 1 GiB",), *each,
    ]  # fmt: skip
    assert study.rows[1][2:4] == ("128.5 MiB", "0 %")
    assert study.rows[1][5:7] == ("2.01 MiB", "50 %")
    assert study.rows[2][5:7] == ("4.02 MiB", "0 %")


def test_costs_are_those_of_the_rows() -> None:
    tables = placements()
    study = places_study(tables)
    assert study is not None
    (row,) = [
        one
        for one in tables["cells"].to_pylist()
        if (one["topology"], one["placement"], one["mechanism"]) == ("xeon_2s", "pack", "shmem")
    ]
    assert study.rows[3][4] == duration(row["placement_cost_ns"])
    assert row["placement_cost_ns"] > 0
