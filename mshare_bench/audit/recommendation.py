"""What to do about what an audit found, in plain words: the ways that there are, what each would save, and its price.

The figures are the audit's own, worked out of the tables that are there (:mod:`.savings`), not of a model of them. The first
recommendation is the one to follow; the others are what else there is.
"""

from collections.abc import Sequence

from mshare_bench.advice.recommendation import Recommendation, in_order, price_of, saved_at_most, what_to_do
from mshare_bench.audit.objects import Kind
from mshare_bench.audit.result import Audit, SharedObject
from mshare_bench.domain.units import format_size

__all__ = ["SMALL", "Recommendation", "recommend"]

#: Share of the machine's memory below which duplicated tables are not worth a change of anything.
SMALL = 0.002


def recommend(audit: Audit) -> tuple[Recommendation, ...]:
    """Work out what to do, the best first; nothing is best while what can be saved is below `SMALL` of the machine's memory."""
    ways = [way for way in (_hugetlb(audit), _thp(audit), _one_process(audit), _mshare(audit), _flag(audit)) if way]
    most = saved_at_most(ways)
    return in_order(ways, _nothing(audit, most) if most < SMALL * audit.memory_bytes else None)


def _nothing(audit: Audit, most: int) -> Recommendation:
    private = sum(one.duplicated_bytes or 0 for one in audit.objects if one.kind == Kind.PRIVATE_FILE)
    text = f"Leave it as it is: no way to share saves more than {format_size(most)} of page tables"
    text += f", {most / audit.memory_bytes:.2%} of this machine's memory."
    if private > most:
        text += f" {format_size(private)} are duplicated by private mappings of files (libraries), which none of them shares."
    return Recommendation("nothing", None, True, text, price_of("nothing", audit.huge_page_bytes))


def _hugetlb(audit: Audit) -> Recommendation | None:
    chosen = _worth(audit, "saved_hugetlb_bytes")
    if not chosen:
        return None
    saves = sum(one.saved_hugetlb_bytes or 0 for one in chosen)
    reserve = sum(one.reserve_bytes or 0 for one in chosen)
    return Recommendation(
        "hugetlb",
        saves,
        reserve < audit.memory_bytes,
        what_to_do("hugetlb", _names(chosen), f"{format_size(saves)} of page tables"),
        price_of("hugetlb", audit.huge_page_bytes, reserve),
    )


def _thp(audit: Audit) -> Recommendation | None:
    chosen = _worth(audit, "saved_thp_bytes")
    if not chosen:
        return None
    saves = sum(one.saved_thp_bytes or 0 for one in chosen)
    return Recommendation(
        "thp",
        saves,
        True,
        what_to_do("thp", _names(chosen), f"up to {format_size(saves)} of page tables"),
        price_of("thp", audit.huge_page_bytes),
    )


def _one_process(audit: Audit) -> Recommendation | None:
    saves = audit.duplicated_bytes
    if not saves:
        return None
    return Recommendation(
        "one_process",
        saves,
        True,
        what_to_do("one_process", "", f"{format_size(saves)} of page tables, those of libraries too"),
        price_of("one_process", audit.huge_page_bytes),
    )


def _mshare(audit: Audit) -> Recommendation | None:
    chosen = _worth(audit, "saved_mshare_bytes")
    if not chosen:
        return None
    saves = sum(one.saved_mshare_bytes or 0 for one in chosen)
    return Recommendation(
        "mshare",
        saves,
        audit.has_mshare,
        what_to_do("mshare", _names(chosen), f"{format_size(saves)} of page tables", here=audit.has_mshare),
        price_of("mshare", audit.huge_page_bytes),
    )


def _flag(audit: Audit) -> Recommendation | None:
    chosen = _worth(audit, "saved_flag_aligned_bytes")
    if not chosen:
        return None
    now = sum(one.saved_flag_bytes or 0 for one in chosen)
    aligned = sum(one.saved_flag_aligned_bytes or 0 for one in chosen)
    size = format_size(audit.huge_page_bytes)
    moved = f", {format_size(aligned)} if all mapped it at one multiple of {size}" if aligned > now else ""
    return Recommendation(
        "mshare_flag",
        now,
        False,
        what_to_do("mshare_flag", _names(chosen), f"{format_size(now)} of page tables as it is mapped now{moved}"),
        price_of("mshare_flag", audit.huge_page_bytes),
    )


def _worth(audit: Audit, field: str) -> list[SharedObject]:
    chosen = [one for one in audit.objects if (getattr(one, field) or 0) > 0 and one.mappers > 1]
    return sorted(chosen, key=lambda one: -getattr(one, field))


def _names(chosen: Sequence[SharedObject]) -> str:
    shown = ", ".join(one.object for one in chosen[:2])
    more = len(chosen) - 2
    return f"{shown} and {more} more" if more > 0 else shown.replace(", ", " and ")
