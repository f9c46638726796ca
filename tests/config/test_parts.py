"""What a cell is made of: which keys decide which part."""

from mshare_bench.config.composer import Composer
from mshare_bench.config.parts import CellContext, Claims, mechanism_part, rest_part, split_names

VALUES = Composer().compose([]).values


def test_every_key_goes_to_one_part() -> None:
    names = ("processes", "mechanism.interface", "engine", "workload.peers", "page", "access.fraction", "cost.name")
    assert split_names(names) == (
        ("processes", "workload.peers", "access.fraction"),
        ("mechanism.interface", "page"),
        ("engine", "cost.name"),
    )


def test_the_others_do_without_the_workloads_keys() -> None:
    (_, of_mechanism, of_rest) = split_names(tuple(VALUES))
    shared = {key: VALUES[key] for key in of_mechanism} | {"mechanism.name": "hugetlb", "page": None}
    (one,) = mechanism_part(shared, Claims())
    assert (one.name, one.page, one.variant) == ("hugetlb", 2 << 20, "")
    rest = rest_part({key: VALUES[key] for key in of_rest} | {"engine": "both"}, CellContext(machine="m"))
    assert [(runner.engine, runner.machine) for runner in rest.runners] == [("sim", ""), ("real", "m")]
