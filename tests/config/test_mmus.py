from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.mmus import mmu_of
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.errors import ConfigError
from tests.config.test_request import cells
from tests.sim.mmu.geometries import NAMES, named_geometry


def read(*overrides: str) -> MmuSetting | None:
    return mmu_of(Composer().compose(list(overrides)).values)


def test_no_mmu_is_the_default() -> None:
    assert read() is None
    assert all(cell.mmu is None for cell in cells("mechanism=shmem"))


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_geometry_is_a_choice(name: str) -> None:
    assert read(f"mmu={name}") == MmuSetting(named_geometry(name))


def test_settings_are_read() -> None:
    found = read(
        "mmu=zen2", "mmu.tags=group", "mmu.quantum=4ms", "mmu.access=20ns", "mmu.cores=2", "mmu.passes=3",
        "mmu.sample.processes=4", "mmu.sample.accesses=1000", "mmu.base='0x7f00'", "mmu.walkers=4",
        "mmu.stream={kind:zipf,skew:0.8}",
    )  # fmt: skip
    assert found is not None
    assert (found.tags, found.quantum_ns, found.access_ns, found.cores, found.passes) == ("group", 4_000_000, 20, 2, 3)
    assert (found.sample_processes, found.sample_accesses, found.trace_base) == (4, 1000, 0x7F00)
    assert (found.stream, found.stream_params, found.geometry.walkers) == ("zipf", (("skew", 0.8),), 4)
    short = read("mmu=zen2", "mmu.stream=gups")
    assert short is not None
    assert (short.stream, short.stream_params) == ("gups", ())


def test_it_changes_the_cell_and_not_the_point() -> None:
    plain, other, tagged = (
        cells("mechanism=shmem", *more)[0] for more in ([], ["mmu=zen2"], ["mmu=zen2", "mmu.tags=none"])
    )
    assert plain.point.digest == other.point.digest == tagged.point.digest
    assert len({plain.digest, other.digest, tagged.digest}) == 3


def test_real_cells_have_none_and_pair_with_simulated_ones() -> None:
    sim, real = cells("mechanism=shmem", "mmu=zen2", "engine=both")
    assert (sim.engine, real.engine) == ("sim", "real")
    assert real.mmu is None
    assert sim.point.digest == real.point.digest


def test_geometries_and_settings_are_axes() -> None:
    found = cells("mechanism=shmem", "mmu=zen2,zen5", "mmu.tags=none,group", multirun=True)
    assert sorted(one.mmu.label for one in found if one.mmu) == [
        "zen2;tags=group", "zen2;tags=none", "zen5;tags=group", "zen5;tags=none",
    ]  # fmt: skip


def test_a_trace_is_known_by_its_content(tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        found = read("mmu=zen2", f"mmu.trace='{path}'")
        assert found is not None
        return found.digest

    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    assert digest(first) == digest(second)
    second.write_bytes(b"two")
    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["mmu=zen2", "mmu.tags=asid"], "mmu.tags=asid: must be one of none, pcid, group"),
        (["mmu=zen2", "mmu.quantum=fast"], "mmu.quantum=fast"),
        (["mmu=zen2", "mmu.cores=0"], "mmu.cores=0"),
        (["mmu=zen2", "mmu.sample.accesses=0"], "mmu.sample.accesses=0"),
        (["mmu=zen2", "mmu.base=-1"], "mmu.base=-1: not an address such as 0x7f0000000000"),
        (["mmu=zen2", "mmu.trace=/nowhere/t.parquet"], "mmu.trace=/nowhere/t.parquet: No such file or directory"),
        (["mmu.stream=gups"], "mmu.stream=gups: needs an MMU; say mmu=NAME"),
        (
            ["mmu=zen2", "mmu.tlb.stlb=[{pages:[4KiB,2MiB],entries:1000,ways:12}]"],
            "mmu.tlb.stlb[0].entries=1000: in 12 ways that is no power of two of sets",
        ),
    ],
)
def test_bad_values_are_one_clear_line(overrides: Sequence[Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(*overrides)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
