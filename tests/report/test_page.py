"""The report as a person sees it, opened from disk."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.report.html import write_report
from mshare_bench.results.store import Store
from tests.results.sample import COLORS, headline, rows_of, sweep
from tests.tracking.browser import Browser, browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser(1240, 900) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    wide = sweep(list(COLORS), (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000), [MIB << 2 * index for index in range(9)])
    real = sweep(list(COLORS), (10, 100, 1_000), [GIB], ("real",))
    made = {}
    for name, rows in {"headline": headline(), "sweep": rows_of([*wide, *real])}.items():
        with Store.create(folder / name, name, config={"overrides": [f"experiment={name}"]}) as store:
            store.append(rows.tables())
            made[name] = write_report(store, colors=COLORS)
    return made


@pytest.mark.parametrize("name", ["headline", "sweep"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_on_light_and_dark_ground(
    page: Browser, reports: dict[str, Path], artefacts: Path, name: str, scheme: str
) -> None:
    page.color_scheme(scheme)
    page.open(reports[name].as_uri())
    assert page.complaints() == []
    ground, ink = (page.run(f"return getComputedStyle(document.body).{kind}") for kind in ("backgroundColor", "color"))
    assert (
        (_light(ground) > 200 and _light(ink) < 60)
        if scheme == "light"
        else (_light(ground) < 40 and _light(ink) > 200)
    )
    text = "return [...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fill)"
    fills = {_light(fill) for fill in page.run(text)}
    assert max(fills) < 190 if scheme == "light" else min(fills) > 75
    page.screenshot(artefacts / f"report-{name}-{scheme}.png", whole=True)


def _light(color: str) -> float:
    red, green, blue = (float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_it_asks_for_nothing(page: Browser, reports: dict[str, Path]) -> None:
    page.open(reports["sweep"].as_uri())
    assert page.run("return performance.getEntriesByType('resource').map(one => one.name)") == []


@pytest.mark.parametrize("width", [360, 800, 1240, 1920])
def test_the_page_never_scrolls_sideways(page: Browser, reports: dict[str, Path], width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open(reports["sweep"].as_uri())
        assert page.run("return document.scrollingElement.scrollWidth") <= width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_labels_in_figures_do_not_overlap(page: Browser, reports: dict[str, Path]) -> None:
    page.color_scheme("light")
    page.open(reports["sweep"].as_uri())
    script = """
    return JSON.stringify([...document.querySelectorAll('svg.figure')].map(svg => [...svg.querySelectorAll('text')]
      .filter(one => !one.closest('[transform*=rotate]') && !(one.getAttribute('transform') || '').includes('rotate(-90'))
      .map(one => { const box = one.getBoundingClientRect();
        return [one.textContent.trim(), box.left, box.top, box.right, box.bottom]; })))
    """
    for texts in json.loads(page.run(script)):
        for index, (word, left, top, right, bottom) in enumerate(texts):
            for other, left2, top2, right2, bottom2 in texts[index + 1 :]:
                across = min(right, right2) - max(left, left2)
                down = min(bottom, bottom2) - max(top, top2)
                assert not (across > 2 and down > 4), (word, other)


def test_it_prints_on_paper_in_light_colours(page: Browser, reports: dict[str, Path], artefacts: Path) -> None:
    import base64

    page.color_scheme("dark")
    page.open(reports["headline"].as_uri())
    printed = page.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    data = base64.b64decode(printed["data"])
    (artefacts / "report-headline.pdf").write_bytes(data)
    assert data.startswith(b"%PDF")
    pages = data.count(b"/Type /Page\n") + data.count(b"/Type /Page /")  # a rough count is enough: it must not run away
    assert pages <= 12
