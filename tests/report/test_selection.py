import pyarrow as pa

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.report.selection import attach_and_touch, break_even, panels, savings_grids
from mshare_bench.results.rows import Rows
from mshare_bench.results.savings import with_savings
from tests.results.sample import COLORS, cell_of, headline, rows_of, sweep, table_bytes


def _cells(rows: Rows) -> pa.Table:
    return with_savings(rows.tables()["cells"])


def test_panels_are_over_processes_at_three_sizes() -> None:
    found = panels(_cells(rows_of(list(sweep(sizes=[MIB << index for index in range(11)], engines=("sim", "real"))))))
    assert [panel.title for panel in found] == ["1 MiB", "32 MiB", "1 GiB"]
    assert {panel.x for panel in found} == {"processes"}
    lines = {(line.label, line.engine): dict(line.points) for line in found[-1].lines}
    assert set(lines) == {
        ("hugetlb", "real"), ("hugetlb", "sim"), ("mshare", "sim"), ("shmem", "real"), ("shmem", "sim"),
    }  # fmt: skip
    assert lines["shmem", "sim"] == {
        count: sum(table_bytes("shmem", count, GIB)) for count in (1, 10, 100, 1_000, 10_000)
    }


def test_a_size_that_was_measured_has_its_panel() -> None:
    cells = [*sweep(sizes=[MIB << index for index in range(11)]), *sweep(sizes=(2 * MIB,), engines=("real",))]
    assert [panel.title for panel in panels(_cells(rows_of(cells)))] == ["1 MiB", "2 MiB", "1 GiB"]


def test_the_headline_is_one_panel_though_its_patterns_differ() -> None:
    (panel,) = panels(_cells(headline()))
    sim = {line.label: line.points for line in panel.lines if line.engine == "sim"}
    assert sim["shmem"] == ((1_000, 2_105_344_000), (10_000, 21_053_440_000))


def test_sizes_that_differ_by_rounding_only_are_one_panel() -> None:
    cells = [cell_of("shmem", count, GIB - 4096 * (GIB // 4096 % count)) for count in (7, 11, 13)]
    (panel,) = panels(_cells(rows_of(cells)))
    assert [x for x, _ in panel.lines[0].points] == [7, 11, 13]


def test_where_only_size_was_swept_it_is_the_axis() -> None:
    (panel,) = panels(_cells(rows_of(list(sweep(processes=(7,), sizes=(MIB, GIB))))))
    assert panel.x == "region_bytes"
    assert panel.title == "7 processes"
    assert panel.lines[0].points[0][0] == MIB


def test_of_two_values_at_one_place_those_of_one_pattern_are_shown() -> None:
    cells = [cell_of("shmem", count, access=access) for count in (1, 10) for access in ("dense", "sparse")]
    (panel,) = panels(_cells(rows_of([*cells, cell_of("shmem", 100)])))
    (line,) = panel.lines
    assert [x for x, _ in line.points] == [1, 10, 100]


def test_times_that_nobody_knows_make_no_panel() -> None:
    cells = _cells(headline())
    assert panels(cells, value=attach_and_touch)
    at = cells.schema.get_field_index("touch_ns")
    assert (
        panels(
            cells.set_column(at, cells.schema.field(at), pa.nulls(cells.num_rows, pa.float64())), value=attach_and_touch
        )
        == []
    )
    assert panels(_cells(rows_of([cell_of("shmem")], failing=("shmem",)))) == []


def test_grids_hold_what_is_saved() -> None:
    grids = savings_grids(_cells(rows_of(list(sweep()))))
    assert [grid.label for grid in grids] == ["mshare", "hugetlb"]
    grid = grids[0]
    assert grid.processes == (1, 10, 100, 1_000, 10_000)
    assert grid.regions == (64 * MIB, GIB, 16 * GIB)
    assert grid.saved[1][4] == 21_053_440_000 - 2_105_344
    assert grid.share[1][0] == 0.0
    assert savings_grids(_cells(headline())) == []


def test_break_even_is_the_first_count_from_which_on_it_is_ahead() -> None:
    counts = (1, 10, 100, 500, 512, 513, 514, 515, 1_000)
    cells = _cells(rows_of(list(sweep(mechanisms=list(COLORS), processes=counts, sizes=(GIB,)))))
    found = {(one.loser, one.measure): one for one in break_even(cells)}
    # mshare: 514 pages; hugetlb: one PMD page and a PUD page each, so 514 at 513 processes.
    assert found["hugetlb", "page tables"].processes == 514
    assert found["shmem", "page tables"].processes == 10
    assert found["shmem", "page tables"].swept == (1, 1_000)
    assert found["hugetlb", "time"].processes is None
    assert ("shared_mm", "page tables") not in found
    assert break_even(_cells(headline())) == []  # two counts draw no curve
