"""The answer in one sentence: what page tables cost without sharing, and what the ways of sharing leave of it."""

from collections.abc import Sequence

import pyarrow as pa

from mshare_bench.report import words
from mshare_bench.report.pairs import Pair, Scene, checked, costliest
from mshare_bench.results.savings import BASELINE

__all__ = ["answer", "situation"]

_FAVOURED = ("hugetlb", "mshare")
# Memory that a process has for itself, whatever merges or copies it.
_PRIVATE = {"anon_thp", "inherit", "ksm"}


def answer(table: pa.Table) -> str:
    """Say in one sentence what the cells of a store show.

    It speaks of the scene where `shmem` costs most: what that is, what `hugetlb` and `mshare` (without them, the best others)
    leave of it, and how far what was measured agrees with what was predicted.
    """
    scene = costliest(table)
    if scene is None:
        return "No cell ended with a figure for its page tables, so there is no answer."
    chosen = _chosen(scene)
    costs = [
        f"{words.size(pair.best['page_table_bytes'])}{'' if index else ' on page tables'} with {_name(scene, pair)}"
        for index, pair in enumerate(chosen)
    ]
    sentence = f"{situation(scene)} spend{'s' if scene.processes == 1 else ''} {_and(costs)}"
    if chosen[0].mechanism == BASELINE and len(chosen) > 1:
        share = words.share_saved(chosen[-1].best["page_table_saved_bytes"], chosen[-1].best["page_table_bytes"])
        if share is not None and share > 0:
            sentence += f", {words.percent(share)} less"
    kinds = {"measured" if pair.measured else "predicted" for pair in chosen}
    sentence += f" ({' and '.join(sorted(kinds, reverse=True))})"
    return f"{sentence}{_agreement(table)}."


def situation(scene: Scene) -> str:
    """What a scene is about: `10,000 processes that share 1 GiB`."""
    workload = scene.coordinates["workload"]
    who = f"{words.count(scene.processes)} process{'es' if scene.processes != 1 else ''}"
    of = f" of {workload}" if workload not in (None, "region") else ""
    one = scene.processes == 1
    if {pair.mechanism for pair in scene.pairs} <= _PRIVATE:
        return f"{who}{of} that {'has' if one else 'have'} {words.size(scene.region_bytes)} of private memory"
    return f"{who}{of} that share{'s' if one else ''} {words.size(scene.region_bytes)}"


def _name(scene: Scene, pair: Pair) -> str:
    name, details = scene.label(pair)
    return f"{name} ({details})" if details else name


def _chosen(scene: Scene) -> list[Pair]:
    having = [pair for pair in scene.pairs if pair.best["page_table_bytes"] is not None]
    base = [pair for pair in having if pair.mechanism == BASELINE][:1]
    favoured = [pair for name in _FAVOURED for pair in having if pair.mechanism == name and not pair.variant]
    others = [pair for pair in having if pair.mechanism != BASELINE]
    return base + (favoured or others[-2:])


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _agreement(table: pa.Table) -> str:
    ratios = [
        (scene.processes, pair.ratio) for scene in checked(table) for pair in scene.pairs if pair.ratio is not None
    ]
    if not ratios:
        return ""
    low, high = (words.ratio(pick(value for _, value in ratios)) for pick in (min, max))
    span = low if low == high else f"{low} to {high}"
    most = max(processes for processes, _ in ratios)
    return f"; measured at up to {words.count(most)} processes: {span} of what was predicted"
