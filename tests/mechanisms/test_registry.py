import importlib.metadata
from pathlib import Path

import pytest

from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms import registry
from mshare_bench.mechanisms.shmem import Shmem


def test_one_file_and_one_yaml_each():
    folder = Path(registry.__file__).parent
    files = {path.stem for path in folder.glob("[a-z]*.py")} - {"contract", "registry"}
    yamls = {path.stem for path in (folder.parent / "conf" / "mechanism").glob("*.yaml")} - {"all"}
    assert set(registry.mechanisms()) == files == yamls


def test_a_name_is_taken_once():
    class Other(Shmem):
        """Another of the same name."""

    with pytest.raises(ConfigError, match="mechanism=shmem"):
        registry.mechanism(Other)


def test_a_broken_plug_in_is_a_warning_with_its_reason(monkeypatch):
    broken = importlib.metadata.EntryPoint("broken", "no_such_module_here", "mshare_bench.mechanisms")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    registry.mechanisms.cache_clear()
    with pytest.warns(UserWarning, match="broken.*no_such_module_here"):
        found = registry.mechanisms()
    registry.mechanisms.cache_clear()
    assert "shmem" in found
