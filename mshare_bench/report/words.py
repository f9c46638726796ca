"""Numbers as people read them. What nobody measured or computed is a dash, never a zero."""

import math

from mshare_bench.domain.units import format_duration, format_size

__all__ = ["DASH", "count", "duration", "percent", "ratio", "share_saved", "size"]

DASH = "–"


def size(value: float | None) -> str:
    """Bytes, four digits at most: `19.61 GiB`, `878.9 GiB`."""
    if value is None:
        return DASH
    scaled = abs(value)
    while scaled >= 1024:
        scaled /= 1024
    return format_size(value, 2 if scaled < 100 else 1)


def duration(value: float | None) -> str:
    """Nanoseconds: `31.2 µs`."""
    return DASH if value is None else format_duration(value).replace(" us", " µs")


def count(value: float | None) -> str:
    """A number of things: `4,096`, `163.8 M`, `1.2 G`."""
    if value is None:
        return DASH
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= scale:
            return f"{value / scale:,.4g} {unit}"
    return f"{value:,.0f}"


def ratio(value: float | None) -> str:
    """Measured over predicted, three decimals."""
    return DASH if value is None else f"{value:.3f}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share; cut, not rounded: 100 % and 0 % are said of all and of nothing only."""
    if share is None:
        return DASH
    if share in (0, 1, -1):
        return f"{share * 100:.0f} %"
    scaled = math.trunc(abs(share) * 100 * 10**digits * (1 + 1e-12)) / 10**digits
    if abs(share) < 1:
        scaled = min(scaled, 100 - 10**-digits)
    sign = "-" if share < 0 else ""
    least = f"{10**-digits:.{digits}f} %"
    return f"{sign}{scaled:.{digits}f} %" if scaled else f"{sign}<{least}"


def share_saved(saved: float | None, left: float | None) -> float | None:
    """Share of the baseline's page tables that is saved, of what is saved and what is left."""
    if saved is None or left is None or saved + left <= 0:
        return None
    return saved / (saved + left)
