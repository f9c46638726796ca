"""Fixtures of the tests that start real process groups."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.real.processes import memfd, need_agent


@pytest.fixture
def agent() -> None:
    """The agent can be had here; else the test is skipped."""
    need_agent()


@pytest.fixture
def backing() -> Iterator[Callable[..., int]]:
    """Makes populated shared memory (`memfd`) that is closed after the test."""
    fds: list[int] = []

    def make(size: int, pages: range | None = None) -> int:
        fds.append(memfd(size, pages))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)
