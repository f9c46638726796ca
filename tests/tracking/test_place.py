from pathlib import Path
from urllib.parse import unquote

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.tracking.place import answers, local_database, place_of


def test_without_a_uri_it_is_a_file_beside_the_store(tmp_path: Path) -> None:
    place = place_of(None, tmp_path / "out")
    assert place.database == tmp_path / "mlflow.db"
    assert place.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert place.artifacts == str(tmp_path / "mlartifacts")
    assert answers(place, 0.1)
    assert (
        place_of(f"sqlite:///{tmp_path}/x.db").database
        == place_of(str(tmp_path / "x.db")).database
        == tmp_path / "x.db"
    )


def test_servers_are_taken_as_they_are() -> None:
    place = place_of("http://localhost:5000/")
    assert (place.uri, place.database, place.artifacts) == ("http://localhost:5000", None, None)


@pytest.mark.parametrize("uri", ["nonsense", "ftp://x", "http://", "http://x:port", "file:///x", "postgres://x/y", ""])
def test_what_is_no_uri_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ConfigError, match=f"tracking.uri={uri}"):
        place_of(uri)


def test_a_server_that_is_not_there_does_not_answer() -> None:
    assert not answers(place_of("http://127.0.0.1:9"), 1.0)


def test_the_link_opens_the_charts_of_one_store() -> None:
    link = place_of("http://localhost:5000").link("7", "abc")
    assert link.startswith(
        "http://localhost:5000/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning"
    )
    assert "tags.store = 'abc'" in unquote(link)


def test_the_newer_file_is_found(tmp_path: Path) -> None:
    assert local_database(tmp_path) is None
    (tmp_path / "mshare-runs").mkdir()
    (tmp_path / "mshare-runs" / "mlflow.db").touch()
    assert local_database(tmp_path) == tmp_path / "mshare-runs" / "mlflow.db"
