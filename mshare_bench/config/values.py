"""Composed values, by their dotted keys: how parts are read from them."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["optional", "section"]


def optional(values: Mapping[str, Any], key: str, parse: Callable[[Any, str], int]) -> int | None:
    """A number where there is one."""
    value = values.get(key)
    return None if value is None else parse(value, key)


def section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is set of a section, without its name in front."""
    prefix = f"{name}."
    return {key[len(prefix) :]: value for key, value in values.items() if key.startswith(prefix) and value is not None}
