"""Sizes and durations as people write them (`1GiB`, `512MiB`, `4096`, `30us`) and as this project counts them."""

import re

from mshare_bench.errors import ConfigError

__all__ = ["GIB", "KIB", "MIB", "TIB", "format_duration", "format_size", "parse_count", "parse_duration", "parse_size"]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_SIZE_UNITS = {
    "": 1, "B": 1,
    "K": KIB, "KIB": KIB, "M": MIB, "MIB": MIB, "G": GIB, "GIB": GIB, "T": TIB, "TIB": TIB, "P": 1 << 50, "PIB": 1 << 50,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
}  # fmt: skip
_SIZE_BY_LOWER = {name.lower(): factor for name, factor in _SIZE_UNITS.items()}
_DURATION_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_size(value: str | int | float, key: str = "size") -> int:
    """Read a size in bytes.

    Parameters
    ----------
    value
        A number of bytes, or a number with a unit: IEC (`KiB`, `MiB`, `GiB`, `TiB`; `K`, `M`, `G`, `T` mean the same)
        or decimal (`KB`, `MB`, `GB`, `TB`). Fractions are fine as long as the result is whole: `2.5GiB`.
    key
        The configuration key, named in the error.

    Raises
    ------
    ConfigError
        When it does not parse, is negative, or is not a whole number of bytes.
    """
    return _parse(value, key, _SIZE_BY_LOWER, "a size (1GiB, 512MiB, 4096)", "bytes")


def parse_duration(value: str | int | float, key: str = "duration") -> int:
    """Read a duration in nanoseconds: `30us`, `1.5ms`, `10s`; a bare number is seconds.

    Raises
    ------
    ConfigError
        When it does not parse, is negative, or is finer than a nanosecond.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value}s"
    elif isinstance(value, str) and value.strip().replace(".", "", 1).isdigit():
        value = value.strip() + "s"
    return _parse(value, key, _DURATION_UNITS, "a duration (30us, 10s)", "nanoseconds")


def parse_count(value: str | int | float, key: str = "count", at_least: int = 0) -> int:
    """Read a whole number, `10000`, `10_000` or `1e6`.

    Raises
    ------
    ConfigError
        When it is no whole number, or below `at_least`.
    """
    if type(value) is int and value >= at_least:
        return value
    try:
        number = float(str(value).replace("_", "")) if not isinstance(value, bool) else float("nan")
    except ValueError:
        number = float("nan")
    if number != number or number != int(number):
        raise ConfigError(f"{key}={value}: not a whole number")
    if number < at_least:
        raise ConfigError(f"{key}={value}: must be at least {at_least}")
    return int(number)


def _parse(value: object, key: str, units: dict[str, int], what: str, base: str) -> int:
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, bool) or value is None:
        raise ConfigError(f"{key}={value}: not {what}")
    text = str(value).strip()
    if text.startswith("-"):
        raise ConfigError(f"{key}={value}: must not be negative")
    match = _NUMBER.fullmatch(text)
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ConfigError(f"{key}={value}: not {what}")
    number = match[1]
    amount = int(number) * unit if number.isdigit() else float(number) * unit
    if amount != int(amount):
        raise ConfigError(f"{key}={value}: not a whole number of {base}")
    return int(amount)


def format_size(size: int | float, digits: int = 1) -> str:
    """Write bytes for people, in IEC units: `19.6 GiB`; exact multiples without a fraction: `1 GiB`."""
    magnitude = abs(size)
    for unit, scale in (("PiB", 1 << 50), ("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if magnitude >= scale:
            scaled = size / scale
            return f"{int(scaled)} {unit}" if scaled == int(scaled) else f"{scaled:.{digits}f} {unit}"
    return f"{int(size)} B"


def format_duration(nanoseconds: int | float) -> str:
    """Write a duration for people: `31 us`, `6.5 ms`, `1.2 s`."""
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if abs(nanoseconds) >= scale:
            value = nanoseconds / scale
            return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"
