"""The garbage collector is still meanwhile, and as it was afterwards."""

import gc

import pytest

from mshare_bench.uncollected import uncollected


def test_collector_is_off_meanwhile_and_on_again_after_an_error() -> None:
    assert gc.isenabled()
    found = []

    def fails() -> None:
        with uncollected():
            found.append(gc.isenabled())
            raise KeyError("any")

    with pytest.raises(KeyError):
        fails()
    assert found == [False]
    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
