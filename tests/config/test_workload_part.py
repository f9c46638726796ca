"""A cell's workload: which keys it reads, and what it says of a value that can't be."""

import pytest

from mshare_bench.config.composer import Composer
from mshare_bench.config.parts import split_names
from mshare_bench.config.workload_part import SIZES, workload_part, workload_setting
from mshare_bench.errors import ConfigError

VALUES = Composer().compose([]).values


def test_the_workloads_part_reads_no_other_key() -> None:
    (own, _, _) = split_names(tuple(VALUES))
    setting = workload_setting({key: VALUES[key] for key in own if key not in SIZES} | {"offset": "4KiB"})
    part = workload_part(setting, {"processes": "1e3", "region": "2MiB"})
    assert (part.workload.processes, part.workload.region_bytes, part.offset) == (1000, 2 << 20, 4096)
    assert [one.address % (1 << 39) for one in part.placed] == [4096]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workload.name", "none"),
        ("write_fraction", "half"),
        ("write_fraction", True),
        ("offset", "x"),
        ("access.fraction", 2),
    ],
)
def test_a_setting_that_can_not_be_names_key_and_value(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        workload_setting({**VALUES, "access.kind": "fraction", key: value})


@pytest.mark.parametrize(("key", "value"), [("processes", 0), ("region", "3KiB"), ("processes", "many")])
def test_a_size_that_can_not_be_names_key_and_value(key: str, value: object) -> None:
    setting = workload_setting(VALUES)
    with pytest.raises(ConfigError, match=key):
        workload_part(setting, {key: value})
