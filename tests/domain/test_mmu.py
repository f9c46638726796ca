from collections.abc import Mapping
from typing import Any

import pytest

from mshare_bench.domain.mmu import geometry_from_mapping
from mshare_bench.errors import ConfigError
from tests.sim.mmu.configurations import GIB, KIB, MIB
from tests.sim.mmu.geometries import NAMES, named_geometry, named_mapping


def test_bundled_geometries_are_there() -> None:
    assert NAMES == ["haswell_ex", "ice_lake_sp", "skylake_sp", "zen2", "zen5"]


@pytest.mark.parametrize("name", NAMES)
def test_bundled_geometry_is_valid_and_every_number_has_a_source(name: str) -> None:
    mapping = named_mapping(name)
    assert named_geometry(name).name == name

    def sourced(path: str, value: Any) -> None:
        if path in mapping["sources"]:
            return
        assert isinstance(value, Mapping), f"{name}: {path} has no source"
        for key, inner in value.items():
            sourced(f"{path}.{key}", inner)

    for key, value in mapping.items():
        if key not in ("name", "description", "sources"):
            sourced(key, value)


def test_published_numbers() -> None:
    """The TLB sizes of the project's own table of published figures, and the machine of the Mitosis target."""
    skylake, haswell = named_geometry("skylake_sp"), named_geometry("haswell_ex")
    l1, stlb = skylake.l1_for(4 * KIB), skylake.stlb_for(4 * KIB)
    assert stlb is not None
    assert (l1.entries, l1.ways, stlb.entries, stlb.ways) == (64, 4, 1536, 12)
    ice_lake, zen2, zen5 = (named_geometry(name) for name in ("ice_lake_sp", "zen2", "zen5"))
    assert [(tlb.entries, tlb.ways) for tlb in ice_lake.stlb] == [(2048, 16)]
    assert (zen2.l1[0].entries, zen2.stlb[0].entries) == (64, 2048)
    assert (zen5.l1[0].entries, zen5.stlb[0].entries, zen5.stlb[0].ways) == (96, 4096, 16)
    l1, stlb = haswell.l1_for(4 * KIB), haswell.stlb_for(4 * KIB)
    assert stlb is not None
    assert (l1.entries, l1.ways, stlb.entries, stlb.ways, haswell.caches[2].size) == (64, 4, 1024, 8, 35 * MIB)


def test_pages_without_an_stlb() -> None:
    assert named_geometry("zen2").stlb_for(GIB) is None
    assert named_geometry("haswell_ex").memory_cycles(1) == pytest.approx(580, rel=0.001)


def replaced(mapping: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(mapping) if isinstance(mapping, Mapping) else list(mapping)
    if value is ... and len(path) == 1:
        del copy[path[0]]
    else:
        inner = copy.get(path[0]) if isinstance(copy, dict) else copy[path[0]]
        copy[path[0]] = replaced(inner, path[1:], value)
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("tlb", "stlb", 0, "entries"),
            1000,
            "mmu.tlb.stlb[0].entries=1000: in 12 ways that is no power of two of sets",
        ),
        (("tlb", "stlb", 0, "entries"), 1152, "mmu.tlb.stlb[0].entries=1152: in 12 ways"),
        (("tlb", "stlb", 0, "entries"), 0, "mmu.tlb.stlb[0].entries=0: in 12 ways"),
        (("tlb", "l1", 0, "ways"), 0, "mmu.tlb.l1[0].ways=0: between 1 and 1024"),
        (("tlb", "l1", 0, "ways"), -4, "mmu.tlb.l1[0].ways=-4: between 1 and 1024"),
        (("tlb", "l1", 0, "ways"), "4", "mmu.tlb.l1[0].ways='4': a whole number is needed"),
        (("tlb", "l1", 0, "pages"), ["8KiB"], "mmu.tlb.l1[0].pages=8192: a page is 4KiB, 2MiB or 1GiB"),
        (("tlb", "l1", 0, "pages"), ["4 pages"], "mmu.tlb.l1[0].pages='4 pages': a size such as 2MiB is needed"),
        (("tlb", "l1", 0, "pages"), "4KiB", "mmu.tlb.l1[0].pages='4KiB': a list is needed"),
        (("tlb", "l1", 1, "pages"), ["4KiB"], "mmu.tlb.l1: two TLBs hold pages of 4096 bytes"),
        (("tlb", "l1", 1, "wys"), 4, "mmu.tlb.l1[1].wys: unknown key, one of pages, entries, ways"),
        (("tlb", "stlb_cycles"), -1, "mmu.tlb.stlb_cycles=-1: not negative"),
        (("page_walk_caches", 0, "level"), 1, "mmu.page_walk_caches[0].level=1: one cache for each of 2 to 5"),
        (("page_walk_caches", 0, "level"), 3, "mmu.page_walk_caches[0].level=3: one cache for each of 2 to 5"),
        (("page_walk_caches", 0, "entries"), 24, "mmu.page_walk_caches[0].entries=24: in 4 ways"),
        (("caches", "l1d", "size"), 32, "mmu.caches.l1d.size=32: no whole number of lines"),
        (("caches", "l2", "slices"), 2, "mmu.caches.l2.slices=2: 1, or more for the l3"),
        (("caches", "l3", "slices"), 0, "mmu.caches.l3.slices=0: 1, or more for the l3"),
        (("caches", "l3", "cycles"), 0, "mmu.caches.l3.cycles=0: greater than 0"),
        (("caches", "l3"), None, "mmu.caches.l3=None: a mapping is needed"),
        (("memory_ns",), [], "mmu.memory_ns=[]: at least the local latency"),
        (("memory_ns",), [80, "far"], "mmu.memory_ns.1='far': a number is needed"),
        (("memory_ns",), [80, -1], "mmu.memory_ns[1]=-1: greater than 0"),
        (("clock_ghz",), True, "mmu.clock_ghz=True: a number is needed"),
        (("clock_ghz",), float("nan"), "mmu.clock_ghz=nan: greater than 0"),
        (("walkers",), 0, "mmu.walkers=0: greater than 0"),
        (("walkers",), ..., "mmu.walkers: missing"),
        (("colour",), "red", "mmu.colour: unknown key"),
    ],
)
def test_bad_geometry_is_one_clear_line(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        geometry_from_mapping(replaced(named_mapping("skylake_sp"), path, value))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
