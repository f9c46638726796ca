"""Chooses machines by their labels, in Ray's own words: `value`, `!value`, `in(a,b)`, `!in(a,b)`."""

import re
from collections.abc import Mapping

__all__ = ["matches", "spelled"]

_SEVERAL = re.compile(r"in\((.*)\)")


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a machine has all labels that are wanted; one that it lacks is no value at all."""
    return all(_matches(labels.get(key), value) for key, value in wanted.items())


def spelled(labels: Mapping[str, str]) -> str:
    """Labels in one line; those that Ray gives to every machine are left out."""
    own = {key: value for key, value in labels.items() if key != "ray.io/node-id"}
    return ", ".join(f"{key}={value}" for key, value in sorted(own.items())) or "none"


def _matches(value: str | None, wanted: str) -> bool:
    wanted, negated = (wanted[1:], True) if wanted.startswith("!") else (wanted, False)
    several = _SEVERAL.fullmatch(wanted)
    values = [one.strip() for one in several[1].split(",")] if several else [wanted]
    return (value in values) != negated
