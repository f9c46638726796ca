"""Machines chosen by label."""

import pytest

from mshare_bench.cluster.labels import matches, spelled

HAVE = {"ray.io/node-id": "ab12", "zone": "a", "disk": "nvme"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, True),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "!a"}, False),
        ({"disk": "in(ssd, nvme)"}, True),
        ({"disk": "!in(ssd,nvme)"}, False),
        ({"gpu": "x"}, False),
        ({"gpu": "!x"}, True),  # as in Ray, a label that is lacking is not that value
        ({"zone": "a", "disk": "ssd"}, False),
    ],
)
def test_values_negated_ones_and_lists(wanted: dict[str, str], found: bool) -> None:
    assert matches(HAVE, wanted) is found


def test_rays_own_number_of_a_machine_is_left_out() -> None:
    assert spelled(HAVE) == "disk=nvme, zone=a"
    assert spelled({"ray.io/node-id": "ab12"}) == "none"
