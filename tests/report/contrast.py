"""Whether something can be seen, by WCAG 2.1."""

import numpy as np
from matplotlib.colors import to_rgb

__all__ = ["contrast"]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21, with matplotlib's own reading of them."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    values = np.array(to_rgb(color))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
