"""Digests of plain values, by which rows of the same thing find each other."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["canonical", "digest", "digest_of", "members"]

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)


def canonical(values: Mapping[str, Any]) -> str:
    """Canonical JSON: keys sorted, no blanks."""
    return _CANONICAL.encode(values)


def members(values: Mapping[str, Any]) -> str:
    """Canonical JSON without its braces, a comma behind it: a stretch of the JSON of a larger mapping."""
    return canonical(values)[1:-1] + ","


def digest_of(text: str) -> str:
    """Sixteen hexadecimal digits of a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def digest(values: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the canonical JSON of these values."""
    return digest_of(canonical(values))
