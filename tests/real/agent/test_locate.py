from collections.abc import Iterator
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent import build, locate
from tests.requirements import require


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No prebuilt binary, a cache of one's own, nothing remembered."""
    monkeypatch.setattr(build, "prebuilt_path", lambda: tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    locate.agent_path.cache_clear()
    yield
    locate.agent_path.cache_clear()


def test_compiles_on_first_use_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require("kernel", bool(build.find_compilers()), "no C compiler")
    path = locate.agent_path()
    assert path.parent == locate.cache_folder()
    locate.agent_path.cache_clear()
    monkeypatch.setattr(build, "find_compilers", list)
    assert locate.agent_path() == path


def test_a_binary_that_others_can_write_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    require("kernel", bool(build.find_compilers()), "no C compiler")
    path = locate.agent_path()
    path.chmod(0o777)
    locate.agent_path.cache_clear()
    monkeypatch.setattr(build, "find_compilers", list)
    with pytest.raises(CapabilityError, match="no C compiler"):
        locate.agent_path()


def test_the_prebuilt_binary_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prebuilt = tmp_path / "prebuilt"
    prebuilt.touch(mode=0o755)
    monkeypatch.setattr(build, "prebuilt_path", lambda: prebuilt)
    assert locate.agent_path() == prebuilt


def test_without_a_compiler_it_says_what_is_left_and_how_to_get_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_compilers", list)
    with pytest.raises(CapabilityError, match=r"only engine=sim.*mshare-bench\[compiler\]"):
        locate.agent_path()


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CapabilityError, match=str(tmp_path / "file")):
        locate.agent_path()
