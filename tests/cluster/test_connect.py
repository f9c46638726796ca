"""A Ray to run on: what is answered where there is none. That a local one comes and goes is in `test_ray`."""

import socket

import pytest

from mshare_bench.cluster.connect import joined_ray
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:port", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="must be host:port"), joined_ray(address):
        pass


def test_nothing_answers() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cluster.address={address}: nothing answers"), joined_ray(address):
            pass
