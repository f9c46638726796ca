"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Folder for what a test leaves to be looked at: tables of ratios, screenshots."""
    folder = Path(os.environ.get("MSHARE_BENCH_ARTEFACTS", "artefacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
