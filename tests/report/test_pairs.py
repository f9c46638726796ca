import pyarrow as pa

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.report.pairs import checked, costliest, missing, scenes, select
from mshare_bench.results.savings import with_savings
from tests.results.sample import cell_of, headline, rows_of, sweep


def _cells(rows: object) -> pa.Table:
    return with_savings(rows.tables()["cells"])  # type: ignore[attr-defined]


def test_predicted_and_measured_of_a_point_are_one_pair() -> None:
    found = scenes(_cells(headline()))
    assert [scene.processes for scene in found] == [1_000, 10_000]
    small, large = found
    assert [pair.mechanism for pair in small.pairs] == ["shmem", "thp", "hugetlb", "mshare", "shared_mm"]
    for pair in small.pairs:
        if pair.mechanism == "mshare":
            assert pair.measured is pair.ratio is pair.agrees is None
        else:
            assert pair.ratio == 1.0
            assert pair.agrees is True
    assert all(pair.measured is None for pair in large.pairs)
    assert all(pair.predicted is not None and pair.predicted.extrapolated for pair in large.pairs)


def test_nothing_is_compared_across_points() -> None:
    table = _cells(rows_of([cell_of("shmem", 10), cell_of("shmem", 11, engine="real")]))
    assert [pair.ratio for scene in scenes(table) for pair in scene.pairs] == [None, None]
    assert checked(table) == []


def test_repeats_give_their_median_and_only_good_ones_count() -> None:
    cells = [cell_of("shmem", engine="real", repeat=repeat) for repeat in range(3)]
    table = rows_of(cells).tables()["cells"]
    at = table.schema.get_field_index("touch_ns")
    table = table.set_column(at, table.schema.field(at), [[10.0, 1000.0, 20.0]])
    (scene,) = scenes(table)
    assert scene.pairs[0].best["touch_ns"] == 20.0
    assert scene.pairs[0].best.rows == 3
    status = table.schema.get_field_index("status")
    (scene,) = scenes(table.set_column(status, table.schema.field(status), [["ok", "void", "ok"]]))
    assert scene.pairs[0].best["touch_ns"] == 15.0


def test_variants_are_told_apart() -> None:
    cells = [
        cell_of("hugetlb"),
        cell_of("hugetlb", variant="pmd_sharing=false"),
        cell_of("mshare", variant="interface=flag"),
    ]
    (scene,) = scenes(_cells(rows_of(cells)))
    assert {scene.label(pair) for pair in scene.pairs} == {
        ("hugetlb", ""),
        ("hugetlb", "pmd_sharing=false"),
        ("mshare", "interface=flag"),
    }


def test_a_large_table_is_thinned_by_whole_scenes_with_its_ends() -> None:
    cells = _cells(rows_of(list(sweep(processes=range(1, 51)))))
    kept, left_out = select(cells, 60)
    found = scenes(kept)
    assert left_out == 150 - len(found)
    assert 15 <= len(found) <= 20
    assert all(len(scene.pairs) == 3 for scene in found)
    assert (found[0].processes, found[0].region_bytes) == (1, 64 * MIB)
    assert (found[-1].processes, found[-1].region_bytes) == (50, 16 * GIB)
    assert select(cells, 450) == (cells, 0)
    assert select(cells.slice(0, 0), 60)[1] == 0


def test_what_was_measured_is_shown_before_what_was_only_predicted() -> None:
    both = [cell_of("shmem", 7, GIB, engine=engine) for engine in ("sim", "real")]
    cells = _cells(rows_of([*sweep(processes=range(1, 51)), *both[1:]]))
    kept, _ = select(cells, 9)
    found = scenes(kept)
    assert len(found) == 3
    (measured,) = [scene for scene in found if (scene.processes, scene.region_bytes) == (7, GIB)]
    assert any(pair.ratio == 1.0 for pair in measured.pairs)


def test_the_costliest_scene_is_shmems() -> None:
    scene = costliest(_cells(headline()))
    assert scene is not None
    assert scene.processes == 10_000
    assert costliest(_cells(rows_of([cell_of("shmem")], failing=("shmem",)))) is None
    alone = costliest(_cells(rows_of([cell_of("mshare", 5), cell_of("mshare", 7, 2 * GIB)])))
    assert alone is not None
    assert alone.processes == 7


def test_what_is_missing_is_counted_by_its_reason() -> None:
    cells = [cell_of("mshare", count, engine="real") for count in (1, 2, 3)] + [cell_of("thp"), cell_of("shmem")]
    first, second = missing(_cells(rows_of(cells, failing=("thp",))))
    assert (first.mechanism, first.engine, first.status, first.cells) == ("mshare", "real", "skipped", 3)
    assert "CONFIG_MSHARE" in first.reason
    assert (second.mechanism, second.status, second.cells) == ("thp", "failed", 1)
