"""The keys of a configuration: which are coordinates, what values the closed ones have, and how wrong ones are answered."""

import difflib
from collections.abc import Iterable

from mshare_bench.errors import ConfigError

__all__ = ["CHOICES", "COORDINATES", "DEFAULT_EXPERIMENT", "MULTIRUN_ONLY", "is_coordinate", "near", "require_choice"]

DEFAULT_EXPERIMENT = "headline"
"""What runs when neither a coordinate nor an experiment is named."""

COORDINATES = frozenset(
    {
        "workload",
        "mechanism",
        "processes",
        "region",
        "page",
        "offset",
        "access",
        "write_fraction",
        "populate",
        "engine",
        "topology",
        "placement",
        "host",
    }
)
"""Keys that decide what runs, with all that lies below them (`mechanism.interface`, `workload.regions.heap.size`)."""

MULTIRUN_ONLY = COORDINATES | {"cost", "mmu"}
"""Keys that can be an axis: the coordinates, and the cost profile and the MMU of simulated cells."""

CHOICES = {
    "engine": ("sim", "real", "both"),
    "populate": ("controller", "first_touch"),
    "host": ("here", "guest"),
    "executor": ("auto", "inline", "ray"),
    "samples": ("all", "quantiles", "none"),
    "real.scale": ("full", "small"),
    "sweep.order": ("interleaved", "grouped", "random"),
}
"""Keys with a closed set of values."""


def is_coordinate(key: str) -> bool:
    """Whether this key, or the one that it lies below, is a coordinate."""
    return key.partition(".")[0] in COORDINATES


def near(name: str, known: Iterable[str]) -> str:
    """Say which known names are near: `did you mean processes?`, or all of them where none is and they are few."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if not close and "." not in name:  # a key of a section, given without the section
        close = [one for one in names if one.rpartition(".")[2] == name][:3]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(names)}" if len(names) <= 16 else f"see mshare-bench run --help ({len(names)} keys)"


def require_choice(key: str, value: object) -> str:
    """Check a value of a key of `CHOICES`.

    Raises
    ------
    ConfigError
        When it is none of them.
    """
    choices = CHOICES[key]
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{key}={value}: must be one of {', '.join(choices)}{advice}")
    return str(value)
