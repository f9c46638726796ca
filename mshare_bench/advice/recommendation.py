"""One way to go: its words, its price, and which comes first. The audit of a host and the report of a run have this in common.

Doing nothing comes first where the best way saves too little; otherwise the way that can be had today, if it saves nearly as
much as the best, else the best. One process in place of many is a rewrite: it comes last, whatever it saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mshare_bench.domain.units import format_size

__all__ = ["Recommendation", "in_order", "price_of", "saved_at_most", "what_to_do"]

# A way that saves at least this share of the most that can be saved, and can be had today, is as good.
_AS_GOOD = 0.8
_REWRITE = "one_process"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One way to go.

    Attributes
    ----------
    action
        `nothing`, `hugetlb`, `thp`, `one_process`, `mshare` or `mshare_flag`.
    saves_bytes
        Page-table bytes that it would save; None for doing nothing.
    available
        Whether it can be had on this machine today.
    text
        What to do, with the numbers.
    price
        What it costs.
    """

    action: str
    saves_bytes: int | None
    available: bool
    text: str
    price: str


def price_of(action: str, huge_page_bytes: int, reserve_bytes: int = 0) -> str:
    """Say what a way costs.

    Parameters
    ----------
    action
        As in `Recommendation`.
    huge_page_bytes
        Bytes of a huge page.
    reserve_bytes
        Huge pages to set aside, for `hugetlb`.

    Raises
    ------
    KeyError
        When there is no such action.
    """
    size = format_size(huge_page_bytes)
    return {
        "nothing": "none",
        "hugetlb": (
            f"{reserve_bytes // huge_page_bytes:,} pages of {size} ({format_size(reserve_bytes)}) set aside before, for nothing "
            f"else; the program has to ask for them; mappings in multiples of {size}; no swapping"
        ),
        "thp": (
            f"every touched {size} takes {size}; only where memory is free in one piece, so less than that after a while; "
            "tables come back where a part is unmapped or swapped"
        ),
        "one_process": "a rewrite; no protection of one from the other, one crash ends all",
        "mshare": (
            "one protection for all; a window of 512 GiB of addresses each; the memory goes when its owner exits; every "
            "unmapping and write-back flushes the TLBs of all CPUs"
        ),
        "mshare_flag": (
            f"files only; one address for all, at a multiple of {size}; a change of protection changes it for all"
        ),
    }[action]


def what_to_do(action: str, what: str, saves: str, *, here: bool = False) -> str:
    """Say what a way is and what it saves, in one sentence.

    Parameters
    ----------
    action
        As in `Recommendation`, `nothing` left out.
    what
        The memory that it is about.
    saves
        What it saves, in words.
    here
        Whether this kernel has mshare.

    Raises
    ------
    KeyError
        When there is no such action.
    """
    words = {
        "hugetlb": f"Put {what} in hugetlb pages",
        "thp": f"Let {what} have transparent huge pages (shmem_enabled=advise and MADV_HUGEPAGE, or huge= of the tmpfs)",
        "one_process": "Run as threads, or on one address space",
        "mshare": f"Share the page tables of {what} (mshare)",
        "mshare_flag": f"Or map {what} with the older MAP_SHARED_PT proposal",
    }[action]
    mshare = "this kernel has it" if here else "once a kernel has it; no released one does"
    has = {"mshare": f" ({mshare})", "mshare_flag": " (no released kernel has it)"}.get(action, "")
    return f"{words}: saves {saves}{has}."


def saved_at_most(ways: Sequence[Recommendation]) -> int:
    """Bytes that the best of the ways saves, one process in place of many left out."""
    return max((way.saves_bytes or 0 for way in ways if way.action != _REWRITE), default=0)


def in_order(ways: Sequence[Recommendation], nothing: Recommendation | None) -> tuple[Recommendation, ...]:
    """Put the one to follow first, the others by what they save.

    Parameters
    ----------
    ways
        What there is.
    nothing
        Doing nothing, where that is best.
    """
    ordered = sorted(ways, key=lambda way: (way.action == _REWRITE, -(way.saves_bytes or 0)))
    if nothing is not None:
        return (nothing, *ordered)
    enough = _AS_GOOD * saved_at_most(ways)
    today = [way for way in ordered if way.available and way.action != _REWRITE and (way.saves_bytes or 0) >= enough]
    first = (today or ordered)[:1]
    return (*first, *(way for way in ordered if way not in first))
