from dataclasses import replace
from typing import Any

import pytest

from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.errors import ConfigError
from tests.sim.mmu.geometries import named_geometry

PLAIN = MmuSetting(named_geometry("skylake_sp"))


def test_the_label_names_the_geometry_and_what_is_not_at_its_default() -> None:
    assert PLAIN.label == "skylake_sp"
    changed = replace(PLAIN, tags="group", stream="zipf", stream_params=(("skew", 0.8),))
    assert changed.label == "skylake_sp;tags=group;stream=zipf;stream.skew=0.8"


@pytest.mark.parametrize(
    "change",
    [
        {"tags": "none"},
        {"quantum_ns": 2},
        {"access_ns": 2},
        {"cores": 2},
        {"passes": 2},
        {"sample_accesses": 2},
        {"stream": "gups"},
        {"trace_digest": "1"},
        {"geometry": replace(PLAIN.geometry, memory_ns=(81.0, 140.4))},
    ],
)
def test_every_setting_and_every_number_is_in_the_digest(change: dict[str, Any]) -> None:
    assert replace(PLAIN, **change).digest != PLAIN.digest


def test_a_trace_is_what_it_holds_and_not_where_it_lies() -> None:
    here, there = (replace(PLAIN, trace=path, trace_digest="1") for path in ("a.parquet", "b.parquet"))
    assert here.digest == there.digest
    assert here.label != there.label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": "asid"}, "mmu.tags=asid: must be one of none, pcid, group"),
        ({"quantum_ns": 0}, "mmu.quantum=0: must be at least 1"),
        ({"cores": 257}, "mmu.cores=257: must be between 1 and 256"),
        ({"sample_accesses": 0}, "mmu.sample.accesses=0: must be between 1"),
        ({"stream": "gups", "trace": "t"}, "mmu.stream=gups: mmu.trace=t says what is accessed"),
    ],
)
def test_bad_settings_are_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        replace(PLAIN, **change)
    assert str(error.value).startswith(message)
