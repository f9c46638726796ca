"""The style sheet: everything it names is there on either ground, and text can be read by WCAG 2.1."""

import re

import pytest

from mshare_bench.report.style import style_sheet
from tests.report.contrast import contrast

SHEET = style_sheet({"--m-mine": "#123456"}, {"--m-mine": "#abcdef"})
TEXT = ("--ink", "--muted", "--accent", "--good", "--bad", "--warn")
GROUNDS = ("--paper", "--ground", "--band")


def grounds() -> tuple[dict[str, str], dict[str, str]]:
    """Variables of the light and of the dark ground."""
    light, dark = re.findall(r":root \{([^}]*--ink[^}]*)\}", SHEET)
    assert SHEET.index(light) < SHEET.index("prefers-color-scheme: dark") < SHEET.index(dark)
    return tuple(dict(re.findall(r"(--[\w-]+): (#\w+);", block)) for block in (light, dark))  # type: ignore[return-value]


def test_every_variable_that_a_rule_uses_is_declared_on_both_grounds() -> None:
    light, dark = grounds()
    assert set(light) == set(dark)
    # `--key` comes with the element, `--sans` is no colour.
    assert set(re.findall(r"var\((--[\w-]+)", SHEET)) - {"--key", "--sans"} <= set(light)
    assert (light["--m-mine"], dark["--m-mine"]) == ("#123456", "#abcdef")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("text", TEXT)
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_has_the_contrast_that_wcag_asks_of_small_text(text: str, ground: str, dark: bool) -> None:
    """Success criterion 1.4.3, level AA: 4.5 to 1."""
    colors = grounds()[dark]
    assert contrast(colors[text], colors[ground]) >= 4.5
    assert "opacity" not in SHEET  # which would take contrast away again


def test_paper_gets_the_light_colours_and_nothing_is_loaded_from_elsewhere() -> None:
    assert "@media screen and (prefers-color-scheme: dark)" in SHEET
    assert "url(" not in SHEET and "@import" not in SHEET
    assert SHEET.count("{") == SHEET.count("}")
