"""Answers to wrong names."""

import pytest

from mshare_bench.config.keys import CHOICES, is_coordinate, near, require_choice
from mshare_bench.errors import ConfigError


def test_near_names_are_offered() -> None:
    assert near("proceses", ["processes", "region"]) == "did you mean processes?"
    assert near("reserve", ["guard.reserve", "region"]) == "did you mean guard.reserve?"
    assert near("zzz", ["b", "a"]) == "there are a, b"
    assert "100 keys" in near("zzz", [f"key{index}" for index in range(100)])


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_choices(key: str) -> None:
    for value in CHOICES[key]:
        assert require_choice(key, value) == value
    with pytest.raises(ConfigError, match=f"{key}=nonsense"):
        require_choice(key, "nonsense")


def test_what_lies_below_a_coordinate_is_one() -> None:
    assert is_coordinate("mechanism.interface") and is_coordinate("processes")
    assert not is_coordinate("real.processes") and not is_coordinate("seed")
