"""What a cell is made of: which keys decide which part."""

from mshare_bench.config.composer import Composer
from mshare_bench.config.parts import (
    SIZES,
    CellContext,
    Claims,
    mechanism_part,
    rest_part,
    split_names,
    workload_part,
    workload_setting,
)

VALUES = Composer().compose([]).values


def test_every_key_goes_to_one_part() -> None:
    names = ("processes", "mechanism.interface", "engine", "workload.peers", "page", "access.fraction", "cost.name")
    assert split_names(names) == (
        ("processes", "workload.peers", "access.fraction"),
        ("mechanism.interface", "page"),
        ("engine", "cost.name"),
    )


def test_the_workloads_part_reads_no_other_key() -> None:
    (own, _, _) = split_names(tuple(VALUES))
    setting = workload_setting({key: VALUES[key] for key in own if key not in SIZES} | {"offset": "4KiB"})
    part = workload_part(setting, {"processes": "1e3", "region": "2MiB"})
    assert (part.workload.processes, part.workload.region_bytes, part.offset) == (1000, 2 << 20, 4096)
    assert [one.address % (1 << 39) for one in part.placed] == [4096]


def test_the_others_do_without_the_workloads_keys() -> None:
    (_, of_mechanism, of_rest) = split_names(tuple(VALUES))
    shared = {key: VALUES[key] for key in of_mechanism} | {"mechanism.name": "hugetlb", "page": None}
    (one,) = mechanism_part(shared, Claims())
    assert (one.name, one.page, one.variant) == ("hugetlb", 2 << 20, "")
    rest = rest_part({key: VALUES[key] for key in of_rest} | {"engine": "both"}, CellContext(machine="m"))
    assert [(runner.engine, runner.machine) for runner in rest.runners] == [("sim", ""), ("real", "m")]
