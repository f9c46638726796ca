import io
from dataclasses import replace

import pyarrow as pa
import pytest
from rich.console import Console

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.units import MIB
from mshare_bench.report.mmu import consolidation, print_walks, walks, walks_table
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine
from tests.sim.mmu.geometries import named_geometry
from tests.sim.points import point

SETTING = MmuSetting(named_geometry("skylake_sp"))


def table(
    *mechanisms: str, setting: MmuSetting | None = SETTING, processes: int = 4, region: int = 64 * MIB
) -> pa.Table:
    cells = [Cell(point(name, processes, region), mmu=setting) for name in mechanisms]
    return Rows.merge(list(SimEngine().run(cells)))["cells"]


def test_rows_without_an_mmu_show_nothing() -> None:
    cells = table("shmem", "mshare", setting=None)
    assert walks(cells) == []
    assert consolidation(cells) is None
    assert walks_table(cells) == ""
    assert walks(cells.drop_columns(["mmu"])) == []  # a store of an earlier version


def test_shmem_is_first_and_what_the_others_are_held_against() -> None:
    found = walks(table("mshare", "shmem", "hugetlb"))
    assert [row.mechanism for row in found] == ["shmem", "mshare", "hugetlb"]
    assert found[0].against == 1
    assert found[1].against == pytest.approx((found[1].walk_cycles or 0) / (found[0].walk_cycles or 1))
    assert not any(row.sampled for row in found)


def test_the_sentence_says_that_misses_stay_and_cycles_fall() -> None:
    cells = table("shmem", "mshare")
    said = consolidation(cells)
    assert said is not None
    assert "mshare, skylake_sp) leaves TLB misses as they are and cuts the cycles in page walks by" in said
    output = io.StringIO()
    print_walks(cells, Console(file=output, width=400))
    assert said in output.getvalue()
    assert said in walks_table(cells).replace("&#x27;", "'")


def test_the_sentence_says_so_where_tags_are_shared_too() -> None:
    setting = replace(SETTING, tags="group", passes=50)
    said = consolidation(table("shmem", "mshare", setting=setting, region=4 * MIB))
    assert said is not None
    assert "of the TLB misses" in said
    assert "share TLB entries too" in said


def test_what_was_scaled_up_is_marked() -> None:
    output = io.StringIO()
    print_walks(table("shmem", processes=100), Console(file=output, width=400))
    assert "~1.638 M" in output.getvalue()
    assert "scaled up" in output.getvalue()
