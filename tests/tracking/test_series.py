import pytest

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.tracking.series import MOST_SERIES, MOST_VALUES, curves, shade
from tests.results.sample import COLORS, cell_of, headline, rows_of, sweep


def test_the_headline_is_one_series_per_mechanism_and_engine() -> None:
    found = curves(headline().tables()["cells"])
    assert found.axis == "processes"
    assert sorted(one.name for one in found.series) == sorted(
        f"{mechanism} {engine}"
        for mechanism in COLORS
        for engine in ("sim", "real")
        if (mechanism, engine) != ("mshare", "real")
    )
    shmem = next(one for one in found.series if one.name == "shmem sim")
    assert {step: point["page_table_bytes"] for step, point in shmem.points.items()} == {
        1_000: 2_105_344_000,
        10_000: 21_053_440_000,
    }
    assert found.left_out == 0


def test_the_longest_axis_is_the_step_and_others_are_at_first_middle_and_last() -> None:
    cells = rows_of(list(sweep(processes=(1, 2, 3), sizes=[64 * MIB * (1 + i) for i in range(7)]))).tables()["cells"]
    found = curves(cells)
    assert found.axis == "region_bytes"
    assert len(found.series) == 9
    assert all(len(one.points) == 7 for one in found.series)
    found = curves(
        rows_of(list(sweep(processes=range(1, 21), sizes=[64 * MIB * (1 + i) for i in range(7)]))).tables()["cells"]
    )
    assert found.axis == "processes"
    assert {one.params["region_bytes"] for one in found.series} == {64 * MIB, 256 * MIB, 448 * MIB}
    assert found.left_out == 3 * (7 - 3)


def test_there_are_fifty_at_most_and_the_rest_is_counted() -> None:
    cells = [
        cell_of(mechanism, processes, variant=f"number={number}")
        for number in range(40)
        for mechanism in ("mshare", "shmem")
        for processes in (1, 2)
    ]
    found = curves(rows_of(cells).tables()["cells"])
    assert len(found.series) == MOST_SERIES
    assert found.left_out == 80 - MOST_SERIES


def test_a_page_that_only_differs_between_mechanisms_is_no_axis() -> None:
    assert curves(rows_of([cell_of("shmem"), cell_of("hugetlb")]).tables()["cells"]).axis == "processes"


def test_repeats_are_one_point_by_their_median_and_failures_none() -> None:
    cells = [cell_of("shmem", engine="real", repeat=repeat) for repeat in range(3)] + [cell_of("thp")]
    table = rows_of(cells, failing=("thp",)).tables()["cells"]
    at = table.schema.get_field_index("touch_ns")
    (one,) = curves(table.set_column(at, table.schema.field(at), [[5.0, 500.0, 7.0, None]])).series
    assert one.points[10]["touch_ns"] == 7.0
    assert curves(table.slice(3)).series == ()


def test_keys_are_stable_and_tell_content_apart() -> None:
    first, again = (curves(rows_of(list(sweep())).tables()["cells"]).series for _ in range(2))
    assert first == again
    assert len({one.key for one in first}) == len(first) == 9
    slower = curves(rows_of(list(sweep(engines=("real",))), slow=2).tables()["cells"]).series
    usual = curves(rows_of(list(sweep(engines=("real",)))).tables()["cells"]).series
    assert [one.key for one in slower] == [one.key for one in usual]
    assert all(one.content != other.content for one, other in zip(slower, usual, strict=True))


def test_null_figures_are_no_metrics() -> None:
    for one in curves(headline().tables()["cells"]).series:
        for point in one.points.values():
            assert "tlb_misses" not in point
            assert ("linking_faults" in point) == (one.engine == "sim")


@pytest.mark.parametrize("color", COLORS.values())
def test_shades_differ(color: str) -> None:
    found = [shade(color, step) for step in range(6)]
    assert found[0] == color
    assert len(set(found)) == 6


def test_names_say_sizes_as_people_do() -> None:
    found = curves(rows_of(list(sweep(sizes=(GIB, 2 * GIB)))).tables()["cells"])
    assert "mshare sim region=2GiB" in [one.name for one in found.series]


def test_the_largest_comparison_comes_first_and_whole() -> None:
    found = curves(rows_of(list(sweep())).tables()["cells"]).series
    assert [one.name for one in found[:3]] == [f"{name} sim region=16GiB" for name in ("hugetlb", "mshare", "shmem")]
    assert {one.fixed["region_bytes"] for one in found[3:6]} == {GIB}


def test_what_is_the_same_everywhere_is_no_chart() -> None:
    found = curves(headline().tables()["cells"]).series
    names = {name for one in found for point in one.points.values() for name in point}
    assert not names & {"data_bytes", "metadata_bytes"}
    assert "page_table_bytes" in names
    (alone,) = curves(rows_of([cell_of("shmem")]).tables()["cells"]).series
    assert alone.points[10]["data_bytes"] == GIB


def test_long_curves_keep_their_ends_and_as_many_steps_as_can_be_logged() -> None:
    cells = [cell_of(name, count) for name in ("shmem", "mshare") for count in range(1, 2001)]
    found = curves(rows_of(cells).tables()["cells"]).series
    values = sum(len(point) for one in found for point in one.points.values())
    assert 0.8 * MOST_VALUES < values <= MOST_VALUES
    assert all((min(one.points), max(one.points)) == (1, 2000) for one in found)
