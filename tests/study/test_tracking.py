"""What happens to rows after they are on disk."""

from pathlib import Path
from typing import Any

import pytest

import mshare_bench
from mshare_bench.config.settings import Settings
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.results.store import Store
from mshare_bench.study.tracking import check_tracking, sync, write_report
from tests.results.sample import headline

pytestmark = pytest.mark.usefixtures("own_folder")


def test_an_address_that_is_none_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ftp://nowhere"):
        mshare_bench.run(mechanism="shmem", tracking__uri="ftp://nowhere", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_an_address_is_looked_at_only_where_tracking_is_wanted() -> None:
    check_tracking(Settings(tracking="none", tracking_uri="ftp://nowhere"))
    check_tracking(Settings(tracking_uri="http://127.0.0.1:9"))  # away is no error: it may come back
    with pytest.raises(ConfigError, match="tracking.uri=ftp://nowhere"):
        check_tracking(Settings(tracking_uri="ftp://nowhere"))


@pytest.mark.parametrize(
    ("named", "given", "used"),
    [
        ("http://127.0.0.1:9", None, "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", "http://127.0.0.1:10", "http://127.0.0.1:10"),
        (None, None, None),
    ],
)
def test_sync_goes_to_the_server_that_the_run_named_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, given: str | None, used: str | None
) -> None:
    made: list[tuple[Any, ...]] = []

    def tracker(experiment: str, uri: str | None, colors: dict[str, str]) -> Any:
        made.append((experiment, uri, set(colors)))
        return type("Tracker", (), {"log": lambda self, store, note: f"logged {store.path.name}"})()

    monkeypatch.setattr("mshare_bench.tracking.mlflow.MlflowTracker", tracker)
    values = {"tracking.uri": named, "tracking.experiment": "mine"}
    Store.create(tmp_path / "o", "s", config={"values": values}).close()
    assert sync(tmp_path / "o", print, given) == "logged o"
    assert made == [("mine", used, set(mechanisms()))]


def test_a_report_has_the_mechanisms_own_colours(tmp_path: Path) -> None:
    with Store.create(tmp_path / "o", "s") as store:
        store.append(headline().tables())
        path = write_report(store)
    text = path.read_text()
    assert path == tmp_path / "o" / "report.html"
    assert all(f"--m-{name}: {mechanisms()[name].color}" in text for name in ("mshare", "hugetlb", "thp"))
