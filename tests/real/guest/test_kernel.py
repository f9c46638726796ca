"""Which kernel is booted, and what is said of images that are none."""

import subprocess
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.real.guest import debian
from mshare_bench.real.guest.kernel import find_kernel, image_release, kernel_identity


def _image(path: Path, release: str = "6.99.1-mshare") -> Path:
    header = bytearray(0x1000)
    header[0x202:0x206] = b"HdrS"
    header[0x20E:0x210] = (0x300).to_bytes(2, "little")
    text = f"{release} (builder@host) #1 SMP".encode()
    header[0x500 : 0x500 + len(text)] = text
    path.write_bytes(header)
    return path


def test_the_release_stands_in_the_image(tmp_path: Path) -> None:
    image = _image(tmp_path / "bzImage")
    assert image_release(image) == "6.99.1-mshare"
    assert find_kernel(str(image)) == image


def test_another_build_at_the_same_path_is_another_kernel(tmp_path: Path) -> None:
    before = kernel_identity(str(_image(tmp_path / "bzImage")))
    assert kernel_identity(str(_image(tmp_path / "bzImage"))) == before
    assert kernel_identity(str(_image(tmp_path / "bzImage", "6.99.2"))) != before


@pytest.mark.parametrize("call", [find_kernel, kernel_identity])
def test_what_is_no_image_is_one_line(call: object, tmp_path: Path) -> None:
    assert callable(call)
    with pytest.raises(ConfigError, match="guest.kernel=.*/none: No such file or directory"):
        call(str(tmp_path / "none"))
    (tmp_path / "text").write_text("not a kernel")
    with pytest.raises(ConfigError, match="guest.kernel=.*/text: not an x86 kernel image"):
        call(str(tmp_path / "text"))
    with pytest.raises(ConfigError, match="Is a directory"):
        call(str(tmp_path))


def _apt(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> list[list[str]]:
    asked: list[list[str]] = []

    def command(words: list[str], folder: str | None = None) -> "subprocess.CompletedProcess[str]":
        del folder
        asked.append(words)
        text = answers.get(" ".join(words[:2]), "")
        return subprocess.CompletedProcess(words, 0 if text else 1, text, "E: no network")

    monkeypatch.setattr(debian, "_command", command)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    return asked


def test_the_newest_version_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.12.9+deb12-cloud-amd64",
        "linux-image-6.12.117-cloud-amd64",
    ]
    asked = _apt(monkeypatch, {"apt-cache search": "".join(f"{name} - Linux\n" for name in names)})
    with pytest.raises(CapabilityError, match="linux-image-6.12.117-cloud-amd64 could not be downloaded .*no network"):
        find_kernel()
    assert asked[-1][-1] == "linux-image-6.12.117-cloud-amd64"


def test_a_kernel_in_the_cache_is_not_downloaded_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "mshare-bench/guest/unpacked/linux-image-6.1.0-56-cloud-amd64/boot"
    folder.mkdir(parents=True)
    image = _image(folder / "vmlinuz-6.1.0-56-cloud-amd64")
    depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n"
    asked = _apt(monkeypatch, {"apt-cache depends": depends})
    assert find_kernel("linux-image-cloud-amd64") == image
    assert [words[0] for words in asked] == ["apt-cache"]
    # Without apt, what it was the last time.
    _apt(monkeypatch, {})
    assert find_kernel("linux-image-cloud-amd64") == image


def test_a_package_that_apt_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _apt(monkeypatch, {})
    with pytest.raises(
        CapabilityError, match="apt knows no linux-image-9-cloud-amd64 .run apt-get update.; or name an image"
    ):
        find_kernel("linux-image-9-cloud-amd64")
