"""What a scene is about, in a few words: above its rows on the screen and in the report."""

import json
from collections.abc import Sequence

from mshare_bench.report import words
from mshare_bench.report.pairs import Scene

__all__ = ["headline", "said", "varying"]

_USUAL = {
    "offset_bytes": 0,
    "write_fraction": 0.0,
    "populate": "controller",
    "topology": "here",
    "placement": "first_touch",
}
_PARAMS = ("workload_params", "access_params")


def headline(scene: Scene) -> str:
    """How many processes share how much: `1,000 processes × 1 GiB`."""
    return f"{words.count(scene.processes)} process{'es' if scene.processes != 1 else ''} × {words.size(scene.region_bytes)}"


def varying(found: Sequence[Scene]) -> frozenset[str]:
    """Coordinates that tell scenes of one workload apart, besides processes and size; `workload` where there are several."""
    values: dict[tuple[str, str], set[str]] = {}
    for scene in found:
        for name in (*_USUAL, *_PARAMS):
            values.setdefault((name, str(scene.coordinates["workload"])), set()).add(str(scene.coordinates[name]))
    names = {name for (name, _), several in values.items() if len(several) > 1}
    several = len({scene.coordinates["workload"] for scene in found}) > 1
    return frozenset(names | ({"workload"} if several else set()))


def said(scene: Scene, tells: frozenset[str] = frozenset()) -> str:
    """Say the workload, the pattern, and what is not as usual or tells it from other scenes (`varying`)."""
    at = scene.coordinates
    parts = [str(at["workload"])] if at["workload"] != "region" or "workload" in tells else []
    parts.append(str(at["access"]))
    for name, usual in _USUAL.items():
        value = at[name]
        if value is None or (value == usual and name not in tells):
            continue
        if name == "offset_bytes":
            parts.append(f"offset {words.size(value)}")
        elif name == "write_fraction":
            parts.append(f"{words.percent(value, 0)} writes")
        else:
            parts.append(f"{name} {str(value).replace('_', ' ')}")
    for name in _PARAMS:
        if name in tells and at[name]:
            params = json.loads(at[name]).items()
            parts += [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in params]
    if all(pair.predicted is not None and pair.predicted.extrapolated for pair in scene.pairs):
        parts.append("predicted only, far beyond what was measured")
    return " · ".join(parts)
