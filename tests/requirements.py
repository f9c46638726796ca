"""Skip a test for a lack, or fail it where that lack is not accepted."""

import os

import pytest

__all__ = ["require"]


def require(marker: str, condition: bool, reason: str) -> None:
    """
    Skip the running test unless `condition` holds.

    Where the environment variable MSHARE_BENCH_REQUIRE lists `marker` (a comma list, or ``all``), the test fails instead:
    there the lack is a defect of the set-up, and a skip would hide it.
    """
    if condition:
        return
    required = os.environ.get("MSHARE_BENCH_REQUIRE", "").replace(" ", "").split(",")
    if marker in required or "all" in required:
        pytest.fail(f"{marker} is required here: {reason}", pytrace=False)
    pytest.skip(reason)
