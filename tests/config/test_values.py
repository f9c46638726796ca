"""How parts are read from composed values."""

from mshare_bench.config.values import optional, section
from mshare_bench.domain.units import parse_size

VALUES = {"region": "2MiB", "page": None, "access.kind": "dense", "access.seed": None, "accesses": 1}


def test_what_is_null_is_none_and_all_else_is_parsed() -> None:
    assert optional(VALUES, "region", parse_size) == 2 << 20
    assert optional(VALUES, "page", parse_size) is None is optional(VALUES, "offset", parse_size)


def test_a_section_has_its_own_keys_that_are_set() -> None:
    assert section(VALUES, "access") == {"kind": "dense"}
