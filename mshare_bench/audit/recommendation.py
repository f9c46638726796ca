"""What to do about what an audit found, in plain words: the ways that there are, what each would save, and its price.

The figures are the audit's own, worked out of the tables that are there (:mod:`.savings`), not of a model of them. The first
recommendation is the one to follow; the others are what else there is.
"""

from collections.abc import Sequence

from mshare_bench.advice.recommendation import Recommendation, price_of
from mshare_bench.audit.objects import Kind
from mshare_bench.audit.result import Audit, SharedObject
from mshare_bench.domain.units import format_size

__all__ = ["SMALL", "Recommendation", "recommend"]

#: Share of the machine's memory below which duplicated tables are not worth a change of anything.
SMALL = 0.002
# A way that keeps at least this share of the most that can be saved, and can be had today, is as good.
_AS_GOOD = 0.8


def recommend(audit: Audit) -> tuple[Recommendation, ...]:
    """Work out what to do, the best first.

    Doing nothing is best while what could be saved is below `SMALL` of the machine's memory. Otherwise, the way that saves
    most of those that can be had today; mshare is put first only where the kernel has it or where nothing else
    keeps up with it.
    """
    ways = [way for way in (_hugetlb(audit), _thp(audit), _one_process(audit), _mshare(audit), _flag(audit)) if way]
    # One process in place of many is a rewrite: it is shown, but nobody is told to start there.
    most = max((way.saves_bytes or 0 for way in ways if way.action != "one_process"), default=0)
    nothing = _nothing(audit, most)
    if most < SMALL * audit.memory_bytes:
        return nothing, *sorted(ways, key=_saved)
    today = [way for way in ways if way.available and way.action != "one_process"]
    good = [way for way in today if (way.saves_bytes or 0) >= _AS_GOOD * most]
    first = (good or sorted(today, key=_saved) or sorted(ways, key=_saved))[0]
    return first, *sorted((way for way in ways if way is not first), key=_saved)


def _saved(way: Recommendation) -> tuple[bool, int]:
    # One process in place of many is a rewrite: it comes last, whatever it saves.
    return way.action == "one_process", -(way.saves_bytes or 0)


def _nothing(audit: Audit, most: int) -> Recommendation:
    private = sum(one.duplicated_bytes or 0 for one in audit.objects if one.kind == Kind.PRIVATE_FILE)
    text = f"Leave it as it is: no way to share would save more than {format_size(most)} of page tables"
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
        f"Put {_names(chosen)} in hugetlb pages: saves {format_size(saves)} of page tables.",
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
        f"Let {_names(chosen)} have transparent huge pages (shmem_enabled=advise and MADV_HUGEPAGE, or huge= of the tmpfs): "
        f"saves up to {format_size(saves)} of page tables.",
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
        f"Run as threads, or on one address space: all {format_size(saves)} that are duplicated go, those of libraries too.",
        price_of("one_process", audit.huge_page_bytes),
    )


def _mshare(audit: Audit) -> Recommendation | None:
    chosen = _worth(audit, "saved_mshare_bytes")
    if not chosen:
        return None
    saves = sum(one.saved_mshare_bytes or 0 for one in chosen)
    has = "This kernel has msharefs." if audit.has_mshare else "No released kernel has it, nor has this one."
    return Recommendation(
        "mshare",
        saves,
        audit.has_mshare,
        f"Put {_names(chosen)} in mshare windows (msharefs): saves {format_size(saves)} of page tables. {has}",
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
        f"Or map {_names(chosen)} with the older MAP_SHARED_PT proposal: saves {format_size(now)} as it is mapped now{moved}. "
        "No released kernel has it.",
        price_of("mshare_flag", audit.huge_page_bytes),
    )


def _worth(audit: Audit, field: str) -> list[SharedObject]:
    chosen = [one for one in audit.objects if (getattr(one, field) or 0) > 0 and one.mappers > 1]
    return sorted(chosen, key=lambda one: -getattr(one, field))


def _names(chosen: Sequence[SharedObject]) -> str:
    shown = ", ".join(one.object for one in chosen[:2])
    more = len(chosen) - 2
    return f"{shown} and {more} more" if more > 0 else shown.replace(", ", " and ")
