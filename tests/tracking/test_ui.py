"""The MLflow UI as a person sees it, started by `mshare-bench ui`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mshare_bench.report.html import write_report
from mshare_bench.results.store import Store
from mshare_bench.tracking.mlflow import MlflowTracker
from tests.results.sample import COLORS, rows_of, sweep
from tests.tracking.browser import Browser, browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_FAILURES = (
    "Something went wrong",
    "Page Not Found",
    "Resource not found",
    "went wrong",
    "Failed to load",
    "Loading Artifact Failed",
)


@dataclass(frozen=True)
class Ui:
    page: Browser
    address: str
    link: str
    sweep: str


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    with browser() as page:
        with Store.create(folder / "out", "headline") as store:
            store.append(rows_of(list(sweep(list(COLORS), sizes=(1 << 30,)))).tables())
            store.compact()
            write_report(store, colors=COLORS)
            assert MlflowTracker(colors=COLORS).log(store, print)
        command = [sys.executable, "-m", "mshare_bench", "ui", str(folder / "out")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
            try:
                assert process.stdout is not None
                link = process.stdout.readline().split()[-1]
                yield Ui(page, link.partition("/#")[0], link, _sweep(folder))
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)
        assert process.returncode in (0, 130)


def _sweep(folder: Path) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("mshare-bench")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    return f"#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"


def _close_assistant(page: Browser) -> None:
    """MLflow opens a chat beside the page once per profile; it covers what is looked at."""
    page.run(
        "for (const one of document.querySelectorAll('button[aria-label*=lose]')) if (one.closest('aside, [class]') "
        "&& one.getBoundingClientRect().left > innerWidth * 0.7) one.click();"
    )


def _no_failure(page: Browser) -> None:
    text = page.text()
    assert not [words for words in _FAILURES if words in text]


def test_the_experiment_lists_the_runs(ui: Ui, artefacts: Path) -> None:
    ui.page.open(
        f"{ui.address}/{ui.link.partition('/')[2].partition('/')[2].partition('/')[2]}".replace("CHART", "ARTIFACT")
    )
    ui.page.open(f"{ui.address}/{ui.sweep.partition('/runs/')[0]}/runs?workflowType=machine_learning")
    names = [f"{mechanism} sim" for mechanism in COLORS] + ["sweep headline"]
    assert ui.page.wait(30, lambda: all(name in ui.page.text() for name in names)), ui.page.text()
    _close_assistant(ui.page)
    _no_failure(ui.page)
    ui.page.screenshot(artefacts / "mlflow-runs.png")


_LINES = """
for (const plot of document.querySelectorAll('.js-plotly-plot')) {
  let card = plot;
  for (let up = 0; up < 8 && card; up++, card = card.parentElement)
    if ((card.innerText || '').split('\\n').includes('page_table_bytes')) {
      const lines = [...plot.querySelectorAll('path.js-line')].filter(one => getComputedStyle(one).strokeOpacity > 0.5);
      return lines.map(one => getComputedStyle(one).stroke);
    }
}
return [];
"""


def test_the_link_opens_charts_with_a_line_of_its_own_colour_for_every_mechanism(ui: Ui, artefacts: Path) -> None:
    ui.page.open(ui.link)
    wanted = sorted(_rgb(color) for color in COLORS.values())
    # It takes 3 to 5 seconds on an idle machine; how long is no matter of this test.
    ui.page.wait(30, lambda: sorted(ui.page.run(_LINES)) == wanted)
    _close_assistant(ui.page)
    ui.page.wait(1, lambda: None)
    ui.page.screenshot(artefacts / "mlflow-charts.png")
    assert sorted(ui.page.run(_LINES)) == wanted
    assert "page_table_saved_bytes" in ui.page.text()
    assert "sweep headline" not in ui.page.text()
    _no_failure(ui.page)


def _rgb(color: str) -> str:
    return "rgb({}, {}, {})".format(*(int(color[at : at + 2], 16) for at in (1, 3, 5)))


def test_the_table_previews(ui: Ui, artefacts: Path) -> None:
    ui.page.open(f"{ui.address}/{ui.sweep}/artifacts/results.json")
    wanted = ("page_table_bytes", "mshare", "shmem")
    assert ui.page.wait(20, lambda: all(word in ui.page.text() for word in wanted)), ui.page.text()
    assert '"columns"' not in ui.page.text()  # the text of the file, not the table
    _close_assistant(ui.page)
    _no_failure(ui.page)
    ui.page.screenshot(artefacts / "mlflow-table.png")


def test_the_report_opens(ui: Ui, artefacts: Path) -> None:
    ui.page.open(f"{ui.address}/{ui.sweep}/artifacts/report.html")
    frame = ui.page.wait(20, lambda: ui.page.run("return document.querySelector('iframe')"))
    assert frame
    ui.page.driver.switch_to.frame(frame)
    try:
        assert ui.page.wait(20, lambda: "spend on page tables" in ui.page.text())
        assert ui.page.run("return document.querySelectorAll('svg.figure').length") >= 2
    finally:
        ui.page.driver.switch_to.default_content()
    _close_assistant(ui.page)
    _no_failure(ui.page)
    ui.page.screenshot(artefacts / "mlflow-report.png")


def test_figures_preview(ui: Ui, artefacts: Path) -> None:
    ui.page.open(f"{ui.address}/{ui.sweep}/artifacts/figures/page_tables.png")
    script = "return [...document.images].some(one => one.naturalWidth > 600)"
    assert ui.page.wait(20, lambda: ui.page.run(script))
    ui.page.screenshot(artefacts / "mlflow-figure.png")
