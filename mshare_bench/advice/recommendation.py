"""One way to go, and what the ways cost: words that the audit of a host and the report of a run have in common."""

from dataclasses import dataclass

from mshare_bench.domain.units import format_size

__all__ = ["Recommendation", "price_of"]


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
