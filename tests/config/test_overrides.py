"""The grammar of overrides, and Python values written in it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.config.overrides import for_hydra, parse_overrides, spell, with_default_experiment
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values", "axis"),
    [
        ("processes=10", (10,), False),
        ("region=1GiB", ("1GiB",), False),
        ("processes=10,100", (10, 100), True),
        ("processes=range(1,9,3)", (1, 4, 7), True),
        ("mechanism=choice(shmem,mshare)", ("shmem", "mshare"), True),
        ("access=null", (None,), False),
        ("mechanism.pmd_sharing=false", (False,), False),
        ("out='a b'", ("a b",), False),
    ],
)
def test_parse(text: str, values: tuple[Any, ...], axis: bool) -> None:
    (one,) = parse_overrides([text])
    assert (one.values, one.axis) == (values, axis)


@pytest.mark.parametrize("text", ["processes", "processes=[1", "a=b=c=[", "processes=interval(1,2)"])
def test_not_an_override(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides([text])
    assert text in str(caught.value)


_VALUES = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1)
)


@given(_VALUES)
def test_what_is_spelled_is_parsed_again(value: Any) -> None:
    (one,) = parse_overrides([spell("key", value)])
    (found,) = one.values
    assert (found, type(found)) == (value, type(value))


def test_a_list_is_an_axis() -> None:
    (one,) = parse_overrides([spell("region", ["1GiB", 4096, Path("x")])])
    assert (one.values, one.axis) == (("1GiB", 4096, "x"), True)
    for value in ([], {"a": 1}):
        with pytest.raises(ConfigError, match="region="):
            spell("region", value)


@pytest.mark.parametrize(
    ("overrides", "added"),
    [
        ([], True),
        (["tracking=none", "out=x", "real.processes=5", "seed=3"], True),
        (["~tracking"], True),
        (["processes=3"], False),
        (["mechanism.interface=flag"], False),
        (["workload.regions.region.size=1GiB"], False),
        (["experiment=oracle_sga"], False),
        (["topology=xeon_2s"], False),
        (["+sweep=sizes"], False),
    ],
)
def test_headline_runs_where_nothing_is_named(overrides: list[str], added: bool) -> None:
    assert with_default_experiment(overrides) == overrides + ["experiment=headline"] * added


def test_options_are_set_for_hydra_whether_the_key_is_there_or_not() -> None:
    assert for_hydra(["mechanism=all", "mechanism.kind=thread", "access.skew=2", "processes=3", "+mechanism.x=1"]) == [
        "mechanism=all", "++mechanism.kind=thread", "++access.skew=2", "processes=3", "+mechanism.x=1",
    ]  # fmt: skip
