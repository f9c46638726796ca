"""What to do about what a run has shown: its mechanisms as ways to go, with the figures of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from mshare_bench.advice.recommendation import Recommendation, in_order, price_of, saved_at_most, what_to_do
from mshare_bench.domain.units import format_size

__all__ = ["SMALL", "Option", "advise"]

SMALL = 0.01
"""Share of the data below which duplicated tables are not worth a change of anything."""

_HUGE = 2 << 20
_TODAY = ("hugetlb", "thp", "one_process")
_ACTIONS = {"hugetlb": "hugetlb", "thp": "thp", "mshare": "mshare", "shared_mm": "one_process"}


@dataclass(frozen=True, slots=True)
class Option:
    """A mechanism of a run: its options as `k=v;k=v`, page-table bytes left and saved, and whether that was measured."""

    mechanism: str
    variant: str
    left_bytes: int
    saved_bytes: int
    measured: bool


def advise(options: Sequence[Option], region_bytes: int) -> tuple[Recommendation, ...]:
    """Work out what to do, the best first; nothing where no mechanism says anything.

    Parameters
    ----------
    options
        Mechanisms at one point, each against `shmem` there.
    region_bytes
        Bytes of the data that is shared.
    """
    best: dict[str, Option] = {}
    for one in options:
        action = _action(one)
        if (
            action is not None
            and one.saved_bytes > 0
            and (action not in best or one.saved_bytes > best[action].saved_bytes)
        ):
            best[action] = one
    ways = [_way(action, one, region_bytes) for action, one in best.items()]
    if not options:
        return ()
    most = saved_at_most(ways)
    nothing = None
    if not most or most < SMALL * region_bytes:
        share = most / region_bytes if region_bytes else 0.0
        text = f"Leave it as it is: no way to share saves more than {format_size(most)} of page tables, {share:.2%} of the data."
        nothing = Recommendation("nothing", None, True, text, price_of("nothing", _HUGE))
    return in_order(ways, nothing)


def _action(one: Option) -> str | None:
    if one.mechanism == "mshare" and "interface=flag" in one.variant:
        return "mshare_flag"
    return _ACTIONS.get(one.mechanism)


def _way(action: str, one: Option, region_bytes: int) -> Recommendation:
    said = "measured" if one.measured else "predicted"
    saves, leaves = format_size(one.saved_bytes), format_size(one.left_bytes)
    text = what_to_do(action, "the shared memory", f"{saves} of page tables and leaves {leaves}, {said}")
    reserve = -(-region_bytes // _HUGE) * _HUGE
    return Recommendation(action, one.saved_bytes, action in _TODAY, text, price_of(action, _HUGE, reserve))
