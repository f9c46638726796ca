"""Debian's packages as a source of files, with programs in place of apt's and dpkg's."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.guest.debian import cache_folder, dependencies, matching, unpacked

DEPENDS = """cat << END
linux-image-amd64
  Depends: linux-image-6.12.9-amd64
 |Depends: linux-base
  Depends: kmod
END"""
DOWNLOAD = """test "$2" = download || exit 1
shift 2
for package; do touch "${package}_1_amd64.deb"; done
echo "$@" >> "$LOG" """
UNPACK = """name=$(basename "$2" _1_amd64.deb)
mkdir -p "$3/usr/share" && echo "$name" > "$3/usr/share/$name" """


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes these programs the only ones of apt and dpkg; gives the file that a download is logged to."""

    def make(**bodies: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, body in bodies.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("LOG", str(tmp_path / "log"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return tmp_path / "log"

    return make


def test_dependencies_are_read_and_alternatives_among_them(programs: Callable[..., Path]) -> None:
    programs(apt_cache=DEPENDS)
    assert dependencies("linux-image-amd64") == ["linux-image-6.12.9-amd64", "linux-base", "kmod"]


def test_a_package_that_apt_does_not_know_has_none(programs: Callable[..., Path]) -> None:
    programs(apt_cache="echo 'E: No packages found' >&2; exit 100")
    assert dependencies("nothing") is None
    assert matching("^nothing$") == []


def test_without_apt_nothing_is_known(programs: Callable[..., Path]) -> None:
    programs()
    assert dependencies("linux-image-amd64") is None
    assert matching("linux") == []
    with pytest.raises(CapabilityError, match="linux-image can't be downloaded without apt-get"):
        unpacked(["linux-image"])


def test_packages_that_match_are_named(programs: Callable[..., Path]) -> None:
    programs(apt_cache='printf "linux-image-6.1 - Linux 6.1\\nlinux-image-6.12 - Linux - the newer\\n"')
    assert matching("linux-image") == ["linux-image-6.1", "linux-image-6.12"]


def test_files_of_all_packages_lie_in_one_folder_downloaded_once(programs: Callable[..., Path]) -> None:
    log = programs(apt_get=DOWNLOAD, dpkg_deb=UNPACK)
    folder = unpacked(["headers", "common"])
    assert {path.name for path in (folder / "usr/share").iterdir()} == {"headers", "common"}
    assert unpacked(["headers", "common"]) == folder
    assert log.read_text() == "headers common\n"
    assert cache_folder().stat().st_mode & 0o077 == 0  # nobody else's kernel is booted from here
    assert [path.name for path in cache_folder().iterdir()] == ["unpacked"]  # no scratch is left


@pytest.mark.parametrize(
    ("apt_get", "dpkg_deb", "said"),
    [
        (
            "echo 'E: no network' >&2; exit 100",
            UNPACK,
            "headers could not be downloaded .E: no network; apt-get update may help",
        ),
        ("exit 0", UNPACK, "headers could not be downloaded .no archive came"),
        (DOWNLOAD.replace("for package", "for package in headers"), UNPACK, "headers could not be downloaded"),
        (
            DOWNLOAD,
            "echo 'not a Debian archive' >&2; exit 2",
            "common_1_amd64.deb could not be unpacked: not a Debian archive",
        ),
    ],
)
def test_what_went_wrong_is_said_and_nothing_is_kept(
    programs: Callable[..., Path], apt_get: str, dpkg_deb: str, said: str
) -> None:
    programs(apt_get=apt_get, dpkg_deb=dpkg_deb)
    with pytest.raises(CapabilityError, match=said):
        unpacked(["headers", "common"])
    assert not (cache_folder() / "unpacked" / "headers").exists()
    assert not list(cache_folder().glob(".download-*"))
