import os
from pathlib import Path

import pytest

from mshare_bench.validation.claims import CLAIMS, page
from tests.requirements import require

PAGE = Path(__file__).parent.parent.parent / "docs" / "claims.md"


def without_kernel(text):
    return [line for line in text.splitlines() if not line.startswith("- Kernel:")]


def test_the_page_says_what_the_models_say():
    assert without_kernel(PAGE.read_text()) == without_kernel(page(with_kernel=False))


@pytest.mark.kernel
def test_the_page_says_what_the_kernel_shows():
    require("kernel", os.geteuid() == 0, "huge pages and KSM take root")
    assert PAGE.read_text() == page(with_kernel=True) + "\n"


def test_every_verdict_is_one_of_three():
    for claim in CLAIMS:
        assert claim.verdict.startswith(("true", "true under conditions", "not so"))
