"""Ranges as an axis: `1..10000*10` is geometric, `0..2MiB+4KiB` linear; both ends belong to it where the steps meet them."""

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from mshare_bench.domain.units import parse_size
from mshare_bench.errors import ConfigError

__all__ = ["MOST_VALUES", "expand_range", "with_ranges"]

MOST_VALUES = 1_000_000
"""Values that one range may have; more is a typing error."""

_RANGE = re.compile(r"\s*(?P<start>[0-9][\w.]*?)\s*\.\.\s*(?P<stop>[0-9][\w.]*)\s*(?P<kind>[*+])\s*(?P<step>[\w.]+)\s*")


def expand_range(key: str, text: Any) -> tuple[int | float, ...] | None:
    """Values of a range; None for what is no range.

    Parameters
    ----------
    key
        Named in errors.
    text
        `start..stop*factor` or `start..stop+step`. Start, stop and step are numbers or sizes, which become bytes.

    Raises
    ------
    ConfigError
        For an end before the start, a step that leads nowhere, or more than `MOST_VALUES` values.
    """
    match = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    where = f"{key}={text}"
    start, stop, step = (_number(where, match[name]) for name in ("start", "stop", "step"))
    geometric = match["kind"] == "*"
    if stop < start:
        raise ConfigError(f"{where}: ends before it starts")
    if geometric and (step <= 1 or start <= 0):
        raise ConfigError(f"{where}: the factor must be above 1 and the start above 0")
    if not geometric and step <= 0:
        raise ConfigError(f"{where}: the step must be positive")
    found: list[int | float] = []
    value = start
    while value <= stop:
        # A geometric range of whole numbers stays one: 1..10*1.5 is 1, 2, 3, 5, 8.
        shown = round(value) if geometric and start.denominator == 1 else _plain(value)
        if not found or shown != found[-1]:
            found.append(shown)
        if len(found) > MOST_VALUES:
            raise ConfigError(f"{where}: more than {MOST_VALUES} values")
        value = value * step if geometric else value + step
    return tuple(found)


def with_ranges(key: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Put the values of a range in its place; what is none stays.

    Raises
    ------
    ConfigError
        As `expand_range` does.
    """
    found: list[Any] = []
    for value in values:
        expanded = expand_range(key, value)
        found.extend((value,) if expanded is None else expanded)
    return tuple(found)


def _number(where: str, text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        pass
    try:
        return Fraction(parse_size(text))
    except ConfigError:
        raise ConfigError(f"{where}: {text} is neither a number nor a size") from None


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
