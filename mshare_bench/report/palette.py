"""Colours of the report: one per mechanism, readable on light and on dark ground, in charts by their own dash and marker too.

Charts are drawn in stand-in colours, which `themed` turns into CSS variables: one picture serves both grounds and print.
"""

import colorsys
import re
from collections.abc import Mapping, Sequence

__all__ = ["DASHES", "GRID", "INK", "MARKERS", "MUTED", "PAPER", "palette", "themed", "variables"]

INK, MUTED, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
_ROLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
_SPARE = ("#cc79a7", "#e69f00", "#117733", "#332288", "#882255", "#999933", "#44aa99", "#aa4499")
"""For mechanisms that come without a colour (Okabe-Ito and Tol's muted scheme, both colour-blind safe)."""

_NEARLY_BLACK = "#0a0a0a"

DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (7, 1.5, 1.5, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 2)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def palette(names: Sequence[str], colors: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for every mechanism: its own, or one of the spare ones."""
    own = dict(colors or {})
    spare = iter([color for color in _SPARE if color not in own.values()] * (1 + len(names) // len(_SPARE)))
    chosen = {name: own[name] if name in own else next(spare) for name in names}
    # An SVG leaves the colour out where it is black, and then no variable can take its place.
    return {name: _NEARLY_BLACK if color == "#000000" else color for name, color in chosen.items()}


def variables(chosen: Mapping[str, str], dark: bool) -> dict[str, str]:
    """CSS variables of the mechanisms' colours on one ground, lightened or darkened where they would not be seen on it."""
    ground = (0.086, 0.098, 0.118) if dark else (1.0, 1.0, 1.0)
    return {f"--m-{_slug(name)}": _readable(color, ground, dark) for name, color in chosen.items()}


def themed(svg: str, chosen: Mapping[str, str]) -> str:
    """Replace stand-in and mechanism colours of an SVG by CSS variables."""
    names = {color.lower(): f"m-{_slug(name)}" for name, color in chosen.items()} | _ROLES
    return re.sub(
        r"#[0-9a-fA-F]{6}\b",
        lambda found: f"var(--{names[key]})" if (key := found[0].lower()) in names else found[0],
        svg,
    )


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _readable(color: str, ground: tuple[float, float, float], dark: bool) -> str:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    if dark and saturation < 0.05 and light < 0.5:
        red = green = blue = light = 0.9 - 0.5 * light
    wanted = 4.5 if dark else 2.0  # WCAG asks 3 of graphics; on white the schemes' own light colours stay as they are
    while _contrast((red, green, blue), ground) < wanted and 0 <= light <= 1:
        light += 0.02 if dark else -0.02
        red, green, blue = colorsys.hls_to_rgb(hue, min(max(light, 0), 1), saturation)
    return "#" + "".join(f"{round(one * 255):02x}" for one in (red, green, blue))


def _contrast(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    """Contrast of two colours by WCAG 2.1 (relative luminance)."""
    lights = []
    for color in (first, second):
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in color]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)
