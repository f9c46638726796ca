import re

import pyarrow as pa

from mshare_bench.report.table import results_table
from mshare_bench.results.savings import with_savings
from tests.results.sample import headline, rows_of, sweep


def _rows(text: str) -> list[list[str]]:
    found = re.findall(r"<tr>(<td>.*?)</tr>", text, flags=re.S)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row, flags=re.S)] for row in found]


def test_predicted_measured_and_ratio_stand_in_one_row() -> None:
    rows = _rows(results_table(with_savings(headline().tables()["cells"])))
    assert ["shmem", "1.96 GiB", "1.96 GiB", "1.000", "baseline", "", "1 GiB"] in rows
    assert ["mshare", "2.01 MiB", "–", "–", "19.61 GiB", "99.99 %", "1 GiB"] in rows
    widths = {len(row) for row in rows}
    assert widths == {7, 11}


def test_columns_that_nobody_filled_are_left_out_and_one_engine_needs_no_ratio() -> None:
    cells = with_savings(rows_of(list(sweep())).tables()["cells"])
    text = results_table(cells)
    assert "ratio" not in text
    assert "Touch" in text
    assert "Fork" not in text
    times = ["attach_ns", "touch_ns", "unmap_ns", "exit_ns", "minor_faults"]
    for name in times:
        at = cells.schema.get_field_index(name)
        cells = cells.set_column(at, cells.schema.field(at), pa.nulls(cells.num_rows, cells.schema.field(at).type))
    assert "Faults" not in results_table(cells)


def test_a_large_sweep_is_thinned_and_says_so() -> None:
    text = results_table(with_savings(rows_of(list(sweep(processes=range(1, 101)))).tables()["cells"]))
    assert len(_rows(text)) < 330
    assert "more combinations" in text
