"""The language of conditions."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.errors import ConfigError
from mshare_bench.sweep.conditions import NAMES, cell_names, parse_condition, selection
from tests.sweep.test_plan import cell

VALUES: dict[str, Any] = {
    **dict.fromkeys(NAMES, ""), "processes": 10, "region": 64 << 20, "mechanism": "thp", "write_fraction": 0.5, "offset": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("processes == 10", True),
        ("processes * region <= 1GiB", True),
        ("processes * region < 640MiB", False),
        ("1 < processes < 10", False),
        ("1 < processes <= 10", True),
        ("mechanism in ['shmem', 'thp']", True),
        ("mechanism not in ('shmem', 'thp')", False),
        ("not (mechanism == 'thp' and processes > 5)", False),
        ("mechanism == 'shmem' or processes % 4 == 2", True),
        ("region // 1MiB == 64", True),
        ("region / 0.5 == 128MiB", True),
        ("processes - 3 == 7 and -processes == -10 and processes + 1 > 10", True),
        ("mechanism == '64MiB'", False),
        ("write_fraction >= .5", True),
        ("True", True),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:
    assert parse_condition("sweep.where", text)(VALUES) is holds


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("procesess < 3", "did you mean processes?"),
        ("zzz < 3", "there are workload, processes"),
        ("__import__('os')", "__import__('os')"),
        ("().__class__", "can't be in a condition"),
        ("mechanism.upper() == 'X'", "can't be in a condition"),
        ("processes ** 9 ** 9 ** 9 > 1", "can't be in a condition"),
        ("processes << 99999999999 > 1", "can't be in a condition"),
        ("[x for x in region]", "can't be in a condition"),
        ("(lambda: 1)()", "can't be in a condition"),
        ("f'{processes}' == ''", "can't be in a condition"),
        ("processes is 3", "can't be in a condition"),
        ("mechanism[0] == 't'", "can't be in a condition"),
        ("processes = 3", "not a condition"),
        ("processes <", "not a condition"),
        ("", "not a condition"),
        ("x" * 3000, "2000 characters"),
        ("(" * 500 + ")" * 500, ""),
    ],
)
def test_what_the_language_does_not_have(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_condition("sweep.where", text)
    assert str(caught.value).startswith("sweep.where") and named in str(caught.value)


@pytest.mark.parametrize(
    "text", ["mechanism < 3", "processes / offset > 1", "mechanism * 3 == 'x'", "[1] * 3 == 1", "3 in processes"]
)
def test_values_that_do_not_go_together(text: str) -> None:
    with pytest.raises(ConfigError, match=r"sweep\.exclude="):
        parse_condition("sweep.exclude", text)(VALUES)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_condition("sweep.where", text)(VALUES) in (True, False)


def test_names_of_a_cell() -> None:
    names = cell_names(cell(7))
    assert set(names) == set(NAMES)
    assert (names["processes"], names["region"], names["engine"], names["workload"]) == (7, 1 << 30, "sim", "region")


def test_selection_keeps_what_is_wanted_and_drops_what_is_not() -> None:
    assert selection(None, None) is None
    chosen = selection("processes > 2", "processes == 4")
    assert chosen is not None
    assert [n for n in range(1, 6) if chosen(cell(n))] == [3, 5]
    dropped = selection(None, "processes == 4")
    assert dropped is not None and not dropped(cell(4)) and dropped(cell(3))
