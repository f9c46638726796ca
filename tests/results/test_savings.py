from mshare_bench.domain.units import GIB
from mshare_bench.results.savings import with_savings
from tests.results.sample import cell_of, headline, rows_of


def test_saved_is_what_shmem_costs_less_what_the_row_costs() -> None:
    rows = with_savings(headline().tables()["cells"]).to_pylist()
    tables = {(row["engine"], row["processes"], row["mechanism"]): row["page_table_bytes"] for row in rows}
    checked = 0
    for row in rows:
        baseline = tables[row["engine"], row["processes"], "shmem"]
        if row["page_table_bytes"] is None:
            assert row["page_table_saved_bytes"] is None
        else:
            checked += 1
            assert row["page_table_saved_bytes"] == baseline - row["page_table_bytes"]
    assert checked == 14


def test_without_a_baseline_of_the_same_engine_it_is_null() -> None:
    cells = [cell_of("shmem", engine="real"), cell_of("mshare"), cell_of("hugetlb", size=2 * GIB, engine="real")]
    table = with_savings(rows_of(cells).tables()["cells"])
    assert table["page_table_saved_bytes"].to_pylist() == [0, None, None]


def test_a_baseline_that_failed_is_none() -> None:
    table = with_savings(rows_of([cell_of("shmem"), cell_of("mshare")], failing=("shmem",)).tables()["cells"])
    assert table["page_table_saved_bytes"].to_pylist() == [None, None]


def test_repeats_are_paired_and_the_first_stands_in() -> None:
    cells = [cell_of("shmem", engine="real", repeat=repeat) for repeat in (2, 0)]
    cells += [cell_of("thp", engine="real", repeat=repeat) for repeat in (0, 1, 2)]
    table = rows_of(cells).tables()["cells"]
    changed = table["page_table_bytes"].to_pylist()
    changed[:2] = [1_000_000, 2_000_000]
    at = table.schema.get_field_index("page_table_bytes")
    table = with_savings(table.set_column(at, table.schema.field(at), [changed]))
    own = changed[2]
    assert table["page_table_saved_bytes"].to_pylist()[2:] == [2_000_000 - own, 2_000_000 - own, 1_000_000 - own]
