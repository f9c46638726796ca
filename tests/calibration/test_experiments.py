from mshare_bench.calibration.experiments import EXPERIMENTS, larger, work_rows
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.domain.units import GIB


def test_every_experiment_gives_rows():
    assert len({one.name for one in EXPERIMENTS}) == len(EXPERIMENTS)
    for one in EXPERIMENTS:
        works, processes, _ = work_rows(one)
        assert works and processes > 0, one.name
        for work in works.values():
            assert {name for name, _ in work.counts} | {far.cost for far in work.far} <= set(UNIT_COSTS)
            assert all(count >= 0 for _, count in work.counts)


def test_writes_and_reads_add_up_to_the_touch():
    half = next(one for one in EXPERIMENTS if one.name == "inherit, half written, 32 MiB")
    works, _, _ = work_rows(half)
    write, read = dict(works["write"].counts), dict(works["read"].counts)
    assert write["fault_copy"] == write["access"] == read["access"] == read["access_old"] == 4096
    assert "fault_copy" not in read and "access_old" not in write


def test_the_larger_sizes_are_none_that_is_fitted():
    fitted = {one.point.workload.region_bytes for one in EXPERIMENTS if one.mechanism == "shmem"}
    assert all(one.point.workload.region_bytes == GIB for one in larger() if one.mechanism == "shmem")
    assert GIB not in fitted
