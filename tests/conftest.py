"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Times are never asserted: not by a property's deadline either, on a machine that others use too.
settings.register_profile("untimed", parent=settings.default, deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Folder for what a test leaves to be looked at: tables of ratios, screenshots."""
    folder = Path(os.environ.get("MSHARE_BENCH_ARTEFACTS", "artefacts")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory (runs without `out=` write there), and no configuration of the user's."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return folder
