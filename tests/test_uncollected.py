"""The garbage collector is still meanwhile, and as it was afterwards."""

import gc
import weakref

import pytest

from mshare_bench.uncollected import set_aside, uncollected


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


def test_what_is_there_is_set_aside_until_the_end() -> None:
    class Node:
        me: "Node"

    node = Node()
    node.me = node  # a circle, which only the collector finds
    gone = weakref.ref(node)
    with set_aside():
        del node
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
