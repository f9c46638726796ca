"""The model beside the running kernel: random histories, no difference.

In a test run a fixed hundred seeds. `MSHARE_BENCH_FULL=1` takes ten times as many, a thousand, from today's date on
(`MSHARE_BENCH_SEED=` from another), and prints them. `docs/semantics.md` says what is compared and what cannot be.
"""

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mshare_bench.real.knobs import Knob, knobs_set, nr_hugepages
from mshare_bench.sim.semantics import (
    Advise,
    CreateFile,
    Exit,
    Fork,
    Map,
    Op,
    Protect,
    PunchFile,
    Spawn,
    Touch,
    Unmap,
    WriteFile,
    faults,
)
from tests.requirements import require
from tests.sim.semantics.histories import hugetlb_history, stock_history
from tests.sim.semantics.kernel import build_driver, compare, lacks
from tests.sim.semantics.scenario import GIB, MIB, PAGE, WINDOW

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(3600 if os.environ.get("MSHARE_BENCH_FULL") else 300)]

_THP = Path("/sys/kernel/mm/transparent_hugepage")
# What khugepaged would collapse behind our backs: nothing with holes in it.
_MAX_PTES_NONE = Knob("khugepaged_max_ptes_none", _THP / "khugepaged" / "max_ptes_none")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = lacks()
    require("kernel", missing is None, str(missing))
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def huge_pool() -> Iterator[None]:
    pool = nr_hugepages(2 * MIB)
    missing = pool.available()
    require("kernel", missing is None, str(missing))
    with knobs_set({pool: 64}):
        yield


@pytest.fixture
def huge_pages() -> Iterator[None]:
    missing = _MAX_PTES_NONE.available()
    require("kernel", missing is None, str(missing))
    require("kernel", "[madvise]" in (_THP / "enabled").read_text(), "transparent huge pages are not on madvise")
    with knobs_set({_MAX_PTES_NONE: 0}):
        yield


def seeds(few: int) -> range:
    """A fixed few, or ten times as many from today's date on."""
    full = bool(os.environ.get("MSHARE_BENCH_FULL"))
    first = int(os.environ.get("MSHARE_BENCH_SEED") or (f"{datetime.date.today():%Y%m%d}" if full else "0"))
    count = few * 10 if full else few
    print(f"seeds {first}..{first + count - 1}")
    return range(first, first + count)


def hold(program: Path, seed: int, history: list[Op]) -> None:
    difference = compare(program, history)
    assert difference is None, f"seed {seed}, {difference}"


def test_random_histories_of_stock_memory(program: Path) -> None:
    for seed in seeds(50):
        hold(program, seed, stock_history(seed, 100))


def test_random_histories_with_transparent_huge_pages(program: Path, huge_pages: None) -> None:
    for seed in seeds(25):
        hold(program, seed, stock_history(seed, 100, thp=True))


def test_random_histories_with_shared_pmd_tables(program: Path, huge_pool: None) -> None:
    for seed in seeds(25):
        hold(program, seed, hugetlb_history(seed, 60))


_FILE = [Spawn(1), CreateFile(1, "a", "memfd", MIB), WriteFile(1, "a", 0, MIB, 5)]
_BASE = 3 * WINDOW


@pytest.mark.parametrize(
    "history",
    [
        # A window that begins with the VMA is still 16 pages long.
        [*_FILE, Map(1, _BASE + 3 * PAGE, MIB, "a", shared=True), Touch(1, _BASE + 3 * PAGE, 40 * PAGE)],
        # Private memory that was only read is not copied by fork.
        [
            Spawn(1), Map(1, _BASE, MIB), Touch(1, _BASE, MIB), Fork(1, 2), Touch(2, _BASE, MIB), Exit(1),
            Touch(2, _BASE, MIB, True, 1),
        ],
        # MADV_DONTNEED frees a PTE page only where it covers it whole within one VMA.
        [
            Spawn(1), Map(1, _BASE, 6 * MIB), Touch(1, _BASE, 6 * MIB, True, 1), Advise(1, _BASE + PAGE, 5 * MIB, "dontneed"),
            Protect(1, _BASE + 5 * MIB, MIB, "r"), Advise(1, _BASE + 4 * MIB, 2 * MIB, "dontneed"), Touch(1, _BASE, 6 * MIB),
        ],
        # Empty tables stay after a hole was punched.
        [*_FILE, Map(1, _BASE, MIB, "a", shared=True), Touch(1, _BASE, MIB), PunchFile(1, "a", 0, MIB), Touch(1, _BASE, MIB)],
        # Neighbours that were written with different protections merge, and fault-around reaches across.
        [
            *_FILE, Map(1, _BASE, 8 * PAGE, "a"), Touch(1, _BASE, 1, True, 1), Map(1, _BASE + 8 * PAGE, 8 * PAGE, "a", 8 * PAGE),
            Protect(1, _BASE, 8 * PAGE, "r"), Touch(1, _BASE + 15 * PAGE, 1, True, 2), Protect(1, _BASE, 8 * PAGE, "rw"),
            Touch(1, _BASE, 16 * PAGE), Unmap(1, _BASE + 4 * PAGE, PAGE),
        ],
    ],
)  # fmt: skip
def test_a_rule_at_a_time(program: Path, history: list[Op]) -> None:
    hold(program, 0, history)


def test_a_hole_in_hugetlb_leaves_the_table_to_the_last_sharer(program: Path, huge_pool: None) -> None:
    # Which one is the last depends on the order of the kernel's tree of mappings: a child comes right behind its parent.
    history: list[Op] = [
        Spawn(1),
        CreateFile(1, "h", "hugetlb", GIB),
        Map(1, _BASE, GIB, "h", shared=True),
        Touch(1, _BASE),
    ]
    history += [Fork(1, 2), Touch(2, _BASE), Fork(1, 3), Touch(3, _BASE), PunchFile(1, "h", 0, 2 * MIB)]
    hold(program, 0, [*history, Touch(1, _BASE), Touch(3, _BASE), Touch(2, _BASE)])


def test_the_comparison_can_fail(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def aligned(machine: object, vma: object, address: int) -> tuple[int, int]:
        start = max(address - address % (64 << 10), vma.start)  # type: ignore[attr-defined]
        return start, min(address - address % (64 << 10) + (64 << 10), vma.end)  # type: ignore[attr-defined]

    monkeypatch.setattr(faults, "around_window", aligned)
    difference = compare(
        program, [*_FILE, Map(1, _BASE + 3 * PAGE, MIB, "a", shared=True), Touch(1, _BASE + 3 * PAGE, 16 * PAGE)]
    )
    assert difference is not None
    assert (difference.what, difference.model, difference.kernel) == ("minor faults", 2, 1)
