"""Overrides of the command line, read with Hydra's own grammar: `processes=10,100`, `mechanism=mshare`, `+sweep=sizes`."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshare_bench.config.keys import DEFAULT_EXPERIMENT, MULTIRUN_ONLY, is_coordinate
from mshare_bench.config.ranges import with_ranges
from mshare_bench.errors import ConfigError

__all__ = ["OPTION_SECTIONS", "Override", "for_hydra", "parse_overrides", "spell", "with_default_experiment"]

_NAMES_POINTS = ("experiment", "sweep", "sweep.axes", "points")

_CONDITIONS = ("sweep.where", "sweep.exclude")

OPTION_SECTIONS = ("mechanism.", "access.")
"""Options that go to whichever choice has them: an option of one mechanism under `mechanism=all`, a parameter of the workload's
own pattern where no `access=` is given. Hydra itself would miss the key."""


@dataclass(frozen=True, slots=True)
class Override:
    """One override.

    Attributes
    ----------
    key
        Config group or dotted key, without a package.
    values
        What it is set to: one value, or those of an axis in their order; none for a deletion.
    axis
        Whether it names several values: `a,b`, `range(1,9)`, `choice(a,b)`, `glob(*)`.
    text
        As it was given.
    prefix
        Empty, `+`, `++` or `~`.
    package
        Package of a config group (`group@package`).
    """

    key: str
    values: tuple[Any, ...]
    axis: bool
    text: str
    prefix: str = ""
    package: str | None = None

    @property
    def of_hydra(self) -> bool:
        """Whether it is about Hydra itself."""
        return self.key.startswith(("hydra.", "hydra/"))

    @property
    def is_option(self) -> bool:
        """Whether it is an option of a mechanism or a pattern, which is set whether the composition has the key or not."""
        return self.key.startswith(OPTION_SECTIONS) and self.prefix in ("", "+", "++")


def parse_overrides(texts: Sequence[str]) -> tuple[Override, ...]:
    """Parse overrides by Hydra's grammar.

    Raises
    ------
    ConfigError
        For one that does not parse, naming it.
    """
    return tuple(_parsed(text) for text in texts)


def with_default_experiment(overrides: Sequence[str]) -> list[str]:
    """Add `experiment=headline` where neither a coordinate, a sweep nor an experiment is named.

    Raises
    ------
    ConfigError
        For an override that does not parse.
    """
    for one in parse_overrides(overrides):
        if one.prefix != "~" and (
            is_coordinate(one.key) or one.key in _NAMES_POINTS or one.key.startswith("sweep.axes.")
        ):
            return list(overrides)
    return [*overrides, f"experiment={DEFAULT_EXPERIMENT}"]


def spell(key: str, value: Any) -> str:
    """Write a key and a value of Python as an override; a list or tuple becomes an axis.

    Raises
    ------
    ConfigError
        For a value that is neither None, a text, a number, a bool nor a list of these.
    """
    if isinstance(value, list | tuple):
        if not value:
            raise ConfigError(f"{key}=[]: this axis has no value")
        return f"{key}={','.join(_literal(key, one) for one in value)}"
    return f"{key}={_literal(key, value)}"


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """Spell overrides so that Hydra's own compose takes them: `OPTION_SECTIONS` are set whether the key is there or not."""
    return [
        f"++{one.text}" if one.key.startswith(OPTION_SECTIONS) and not one.prefix else one.text
        for one in parse_overrides(overrides)
    ]


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    spelled = _quoted_condition(text)
    try:
        return _override(OverridesParser.create().parse_override(spelled), spelled)
    except HydraException as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{text}: not an override such as key=value ({reason})") from error


def _quoted_condition(text: str) -> str:
    """Quote a condition, whose signs Hydra's grammar does not take bare: a second pair of quotes around it is not asked for."""
    key, equals, value = text.partition("=")
    if (
        key.lstrip("+") not in _CONDITIONS
        or not value
        or (value[0] in "'\"" and value[-1] == value[0])
        or value == "null"
    ):
        return text
    return f"{key}{equals}{_quoted(value)}"


def _override(parsed: Any, text: str) -> Override:
    from hydra.core.override_parser.types import OverrideType

    prefixes = {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++", OverrideType.DEL: "~"}
    prefix = prefixes.get(parsed.type, "")
    axis = parsed.is_sweep_override()
    if parsed.is_interval_sweep():
        raise ConfigError(f"{text}: an interval has no values to run; use range(start,stop,step)")
    if not axis:
        values: tuple[Any, ...] = () if prefix == "~" else (parsed.value(),)
    elif type(parsed._value).__name__ == "Glob":
        values = (tuple(parsed._value.include), tuple(parsed._value.exclude))
        return Override(parsed.key_or_group, values, True, text, "glob", parsed.package)
    else:
        values = tuple(parsed._convert_value(value) for value in parsed.sweep_iterator())
        if not values:
            raise ConfigError(f"{text}: this axis has no value")
    if parsed.key_or_group.partition(".")[0] in MULTIRUN_ONLY:
        expanded = with_ranges(parsed.key_or_group, values)
        axis, values = axis or expanded != values, expanded
    return Override(parsed.key_or_group, values, axis, text, prefix, parsed.package)


def _literal(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise ConfigError(f"{key}={value!r}: must be a text, a number, a bool, None or a list of these")
    if re.fullmatch(r"[A-Za-z0-9_./:@%+-]*[A-Za-z][A-Za-z0-9_./:@%+-]*", value) and not _reads_as_other(value):
        return value
    return _quoted(value)


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return str(QuotedString(text, Quote.single).with_quotes())


def _reads_as_other(text: str) -> bool:
    if text.lower() in ("null", "true", "false"):
        return True
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True
