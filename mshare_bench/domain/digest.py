"""Digests of plain values, by which rows of the same thing find each other."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["digest"]

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)


def digest(values: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the canonical JSON of these values."""
    return hashlib.blake2b(_CANONICAL.encode(values).encode(), digest_size=8).hexdigest()
