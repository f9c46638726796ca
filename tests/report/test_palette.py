import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.report.palette import INK, palette, themed, variables
from tests.report.contrast import contrast
from tests.results.sample import COLORS


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
    assert contrast(found, "#16191e" if dark else "#ffffff") >= (4.4 if dark else 1.95)


def test_pictures_take_their_colours_from_variables() -> None:
    chosen = palette(["shmem", "shared_mm"], COLORS)
    text = themed(f'<path style="stroke: {chosen["shared_mm"].upper()}; fill: {INK}"/><g fill="#0a0a0a"/>', chosen)
    assert text == '<path style="stroke: var(--m-shared-mm); fill: var(--ink)"/><g fill="var(--m-shmem)"/>'
