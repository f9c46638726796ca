import os
import re
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


def claim(start):
    (found,) = [one for one in CLAIMS if one.says.startswith(start)]
    return found.model()


def test_sharing_tables_at_fork_is_nearly_free_until_it_is_accounted_for():
    ideal, accounted = re.search(r"takes ([\d.]+)% of a copy, and (\d+)% of it", claim("fork and exec")).groups()
    assert float(ideal) <= 10
    assert 90 <= float(accounted) < 100


def test_sharing_tables_leaves_tlb_misses_and_cuts_walk_cycles():
    text = claim("Shared tables consolidate")
    own, shared = re.search(r"([\d,]+) TLB misses on tables of their own and ([\d,]+) on shared", text).groups()
    assert own == shared
    assert int(re.search(r"fall by (\d+)%", text)[1]) > 5
    kept, grouped = re.search(r"cut ([\d,]+) misses on 4 MiB to ([\d,]+)", text).groups()
    assert int(grouped.replace(",", "")) < int(kept.replace(",", ""))
