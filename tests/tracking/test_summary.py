from mshare_bench.tracking.summary import MOST_ROWS, summary_table
from tests.results.sample import headline, rows_of, sweep


def test_a_small_sweep_is_there_row_by_row() -> None:
    cells = headline().tables()["cells"]
    table = summary_table(cells)
    assert len(table["data"]) == cells.num_rows
    assert all(len(row) == len(table["columns"]) for row in table["data"])
    at = table["columns"].index("page_table_bytes")
    assert [row[at] for row in table["data"]] == cells["page_table_bytes"].to_pylist()
    assert "fork_ns" not in table["columns"]


def test_a_large_one_is_thinned_by_whole_comparisons_with_its_ends() -> None:
    cells = rows_of(list(sweep(processes=range(1, 301)))).tables()["cells"]
    table = summary_table(cells)
    assert MOST_ROWS - 10 < len(table["data"]) <= MOST_ROWS
    who = [tuple(row[table["columns"].index(name)] for name in ("processes", "region_bytes")) for row in table["data"]]
    assert (1, 64 << 20) in who
    assert (300, 16 << 30) in who
    assert all(who.count(one) == 3 for one in set(who))
