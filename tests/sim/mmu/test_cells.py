"""The MMU's part of a cell: which scenes it makes, and what sharing tables, huge pages and tags do to its row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu import HotCold, Sequential, Uniform, Zipf, simulate
from mshare_bench.sim.mmu import cells as module
from mshare_bench.sim.mmu.cells import MmuFigures, Scene, check_inputs, mmu_figures, scenes_of
from tests.sim.mmu.configurations import GIB, KIB, MIB
from tests.sim.mmu.geometries import named_geometry
from tests.sim.points import point

SETTING = MmuSetting(named_geometry("skylake_sp"))


def figures(mechanism: str = "shmem", processes: int = 4, region: int = 64 * MIB, **keys: Any) -> MmuFigures:
    setting = keys.pop("setting", SETTING)
    found = mmu_figures(Cell(point(mechanism, processes, region, **keys), mmu=setting))
    assert found is not None
    return found


def scene(mechanism: str = "shmem", processes: int = 4, region: int = 64 * MIB, **keys: Any) -> Scene:
    setting = keys.pop("setting", SETTING)
    (only,) = scenes_of(point(mechanism, processes, region, **keys), setting)
    return only


def test_a_cell_without_an_mmu_has_no_figures() -> None:
    assert mmu_figures(Cell(point("shmem", 2, GIB))) is None


def test_touching_every_page_once_misses_once_per_page_and_process() -> None:
    assert figures(processes=4, region=64 * MIB).tlb_misses == 4 * 64 * MIB // (4 * KIB)
    assert figures("hugetlb", processes=4, region=64 * MIB).tlb_misses == 4 * 32


def test_sharing_tables_leaves_tlb_misses_as_they_are_and_cuts_walk_cycles() -> None:
    private, shared = figures("shmem"), figures("mshare")
    assert shared.tlb_misses == private.tlb_misses
    assert shared.walk_cycles < 0.5 * private.walk_cycles


def test_shared_tags_cut_misses_only_for_those_who_share_tables() -> None:
    hot: dict[str, Any] = {"region": 4 * MIB, "access": "dense"}
    rows = {
        (mechanism, tags): figures(mechanism, setting=replace(SETTING, tags=tags, passes=200), **hot).tlb_misses
        for mechanism in ("shmem", "mshare")
        for tags in ("none", "pcid", "group")
    }
    for mechanism in ("shmem", "mshare"):
        assert rows[mechanism, "none"] >= rows[mechanism, "pcid"] >= rows[mechanism, "group"]
    assert rows["shmem", "group"] == rows["shmem", "pcid"]
    assert rows["mshare", "group"] < rows["mshare", "pcid"]
    assert rows["mshare", "group"] == 4 * MIB // (4 * KIB)  # the pages once


def test_threads_of_one_address_space_are_not_flushed_between() -> None:
    setting = replace(SETTING, tags="none", passes=200)
    assert figures("shared_mm", region=4 * MIB, setting=setting).tlb_misses == 1024


def test_walks_to_another_node_pay_its_distance() -> None:
    cell = Cell(point("shmem", 4, 64 * MIB), mmu=SETTING)
    near, half, far = (mmu_figures(cell, remote=share) for share in (None, 0.5, 1.0))
    assert near is not None
    assert half is not None
    assert far is not None
    assert near.tlb_misses == far.tlb_misses
    assert near.walk_cycles < half.walk_cycles < far.walk_cycles
    assert half.walk_cycles == pytest.approx((near.walk_cycles + far.walk_cycles) / 2)
    alone = replace(SETTING, geometry=replace(SETTING.geometry, memory_ns=(80.0,)))
    with pytest.raises(ConfigError, match="no latency for 1 hops"):
        mmu_figures(replace(cell, mmu=alone), remote=0.5)


@pytest.mark.parametrize(
    ("access", "stream"),
    [
        (AccessPattern("dense"), Sequential(4 * KIB)),
        (AccessPattern("sparse"), Sequential(2 * MIB)),
        (AccessPattern("stride", step=64 * KIB), Sequential(64 * KIB)),
        (AccessPattern("fraction", fraction=0.25), Uniform()),
        (AccessPattern("zipf", skew=0.8), Zipf(0.8, 4 * KIB)),
    ],
)
def test_patterns_become_streams(access: AccessPattern, stream: object) -> None:
    assert scene(access=access).scenario.streams == (stream,)


def test_a_hot_set_is_touched_as_often_as_its_pages_are_many() -> None:
    (found,) = scene(access=AccessPattern("hotset", fraction=0.25, cold=0.1)).scenario.streams
    assert isinstance(found, HotCold)
    assert found.hot == 16 * MIB
    assert found.fraction == pytest.approx(0.25 / (0.25 + 0.75 * 0.1), rel=0.01)


def test_slices_of_ranks_start_one_behind_the_other() -> None:
    made = list(scenes_of(point("shmem", 8, 80 * MIB, workload="hpc_ranks"), SETTING))
    inner = next(one for one in made if one.processes == 6 and one.scenario.region > 16 * MIB)
    (stream,) = inner.scenario.streams
    assert isinstance(stream, Sequential)
    assert stream.step == 4 * KIB
    assert stream.stagger == 64 * MIB // 8


@pytest.mark.parametrize(
    ("mechanism", "options", "shared", "private", "page"),
    [
        ("shmem", {}, 0, False, 4 * KIB),
        ("mshare", {}, 3, False, 4 * KIB),
        ("shared_mm", {}, 3, False, 4 * KIB),
        ("hugetlb", {}, 2, False, 2 * MIB),
        ("hugetlb", {"pmd_sharing": False}, 0, False, 2 * MIB),
        ("anon_thp", {}, 0, True, 2 * MIB),
        ("ksm", {}, 0, True, 4 * KIB),
        ("inherit", {}, 0, False, 4 * KIB),
        ("inherit", {"tables": "shared"}, 1, False, 4 * KIB),
    ],
)
def test_mechanisms_share_what_their_traits_say(
    mechanism: str, options: dict[str, Any], shared: int, private: bool, page: int
) -> None:
    made = scene(mechanism, region=GIB, **options).scenario
    assert (made.shared_levels, made.private_data, made.page) == (shared, private, page)
    assert (made.domains == ()) == bool(shared)


def test_what_is_written_through_shared_tables_is_the_writers_own() -> None:
    made = scene("inherit", write_fraction=1.0, tables="shared").scenario
    assert (made.shared_levels, made.private_data) == (0, True)


def test_a_sample_stands_for_all_processes_and_accesses() -> None:
    whole = figures(processes=32, setting=replace(SETTING, sample_processes=32))
    sampled = figures(processes=32, setting=replace(SETTING, sample_accesses=4096))
    assert not whole.sampled
    assert sampled.sampled
    assert sampled.tlb_misses == whole.tlb_misses
    assert sampled.walk_cycles == pytest.approx(whole.walk_cycles, rel=0.02)


def test_the_first_process_is_not_scaled_for_it_brings_in_what_all_share() -> None:
    whole = figures("mshare", processes=32, setting=replace(SETTING, sample_processes=32))
    sampled = figures("mshare", processes=32)
    assert sampled.walk_cycles == pytest.approx(whole.walk_cycles, rel=0.02)


def test_instances_have_sharers_of_their_own() -> None:
    made = list(scenes_of(point("mshare", 32, GIB, workload="vm_hosts"), SETTING))
    assert sum(one.processes for one in made) == 32
    assert all(one.scenario.processes <= max(1, one.processes // one.instances) for one in made)
    assert any(one.instances > 1 for one in made)


def test_a_scene_is_simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module._simulated.cache_clear()
    calls = []
    monkeypatch.setattr(module, "simulate", lambda *given: calls.append(given) or simulate(*given))
    for mechanism in ("shmem", "sysv", "file", "shmem"):
        figures(mechanism)
    figures("mshare")
    assert len(calls) == 2


def test_a_page_that_the_mmu_has_no_tlb_for_is_refused() -> None:
    geometry = replace(SETTING.geometry, l1=SETTING.geometry.l1[:2], stlb=SETTING.geometry.stlb[:1])
    with pytest.raises(ConfigError, match="no L1 dTLB for pages of 1073741824 bytes"):
        figures("hugetlb", page=GIB, region=GIB, setting=replace(SETTING, geometry=geometry))


def _trace(path: Path, **columns: list[int]) -> MmuSetting:
    parquet.write_table(pa.table(columns), path)
    return replace(SETTING, trace=str(path), trace_digest=str(path))


def test_a_trace_replaces_the_pattern(tmp_path: Path) -> None:
    addresses = [page * 4 * KIB for page in (0, 5, 0, 7, 5)]
    one = figures("shmem", setting=_trace(tmp_path / "one", address=addresses))
    assert one.tlb_misses == 4 * 3  # three pages, each once per process
    own = _trace(tmp_path / "two", address=[*addresses, 0, 0, 0, 0, 0], process=[1] * 5 + [2] * 5)
    two = figures("shmem", processes=2, setting=own)
    assert two.tlb_misses == 3 + 1
    based = _trace(tmp_path / "based", address=[one + (1 << 40) for one in addresses])
    assert figures(setting=replace(based, trace_base=1 << 40)).tlb_misses == 4 * 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"addr": [1]}, "no column 'address', only addr"),
        ({"address": [0, 64 * MIB]}, "address 0x4000000 in row 1 is outside the region 0x0 to 0x3ffffff"),
        ({"address": []}, "column 'address' holds null, not whole numbers"),
    ],
)
def test_a_wrong_trace_is_one_clear_line(tmp_path: Path, columns: dict[str, list[int]], message: str) -> None:
    path = tmp_path / "trace"
    cell = Cell(point("shmem", 4, 64 * MIB), mmu=_trace(path, **columns))
    with pytest.raises(ConfigError) as error:
        check_inputs(cell)
    assert str(error.value) == f"mmu.trace={path}: {message}"


def test_a_trace_is_of_one_region(tmp_path: Path) -> None:
    cell = Cell(point("shmem", 8, workload="hpc_ranks"), mmu=_trace(tmp_path / "t", address=[0]))
    with pytest.raises(ConfigError, match="is of one region; workload=hpc_ranks has window, table"):
        check_inputs(cell)


def test_a_stream_by_name_replaces_the_pattern_and_is_checked() -> None:
    gups = replace(SETTING, stream="gups")
    assert figures(setting=gups).tlb_misses < 0.6 * figures().tlb_misses  # two accesses to each address
    with pytest.raises(ConfigError, match=r"mmu\.stream\.scew: zipf takes skew, item, scattered"):
        check_inputs(Cell(point(), mmu=replace(SETTING, stream="zipf", stream_params=(("scew", 1),))))
