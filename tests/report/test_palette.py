import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.report.palette import INK, palette, themed, variables
from tests.results.sample import COLORS


def _luminance(color: str) -> float:
    """Relative luminance by WCAG, with matplotlib's own reading of the colour."""
    import numpy as np
    from matplotlib.colors import to_rgb

    values = np.array(to_rgb(color))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_mechanisms_keep_their_colours_and_others_get_one() -> None:
    chosen = palette(["shmem", "mshare", "new", "newer"], COLORS)
    assert chosen["mshare"] == COLORS["mshare"]
    assert len(set(chosen.values())) == 4
    many = palette([f"m{index}" for index in range(30)])
    assert len(many) == 30


@pytest.mark.parametrize("dark", [False, True])
@settings(deadline=None)
@given(color=st.from_regex(r"#[0-9a-f]{6}", fullmatch=True))
def test_every_colour_can_be_seen_on_its_ground(dark: bool, color: str) -> None:
    found = variables({"a mechanism": color}, dark)["--m-a-mechanism"]
    ground, own = (_luminance("#16191e") if dark else 1.0), _luminance(found)
    assert (max(ground, own) + 0.05) / (min(ground, own) + 0.05) >= (4.4 if dark else 1.95)


def test_pictures_take_their_colours_from_variables() -> None:
    chosen = palette(["shmem", "shared_mm"], COLORS)
    text = themed(f'<path style="stroke: {chosen["shared_mm"].upper()}; fill: {INK}"/><g fill="#0a0a0a"/>', chosen)
    assert text == '<path style="stroke: var(--m-shared-mm); fill: var(--ink)"/><g fill="var(--m-shmem)"/>'
