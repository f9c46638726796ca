"""The module is built for kernels on its list, from packages that are unpacked and not installed, once."""

import shutil

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.guest.kernel import find_kernel, image_release
from mshare_bench.real.guest.module import build
from tests.requirements import require


@pytest.mark.parametrize("release", ["5.10.0-1-cloud-amd64", "6.6.1", "6.18.0", "6.120.0"])
def test_a_kernel_off_the_list_is_refused(release):
    with pytest.raises(CapabilityError, match=f"tried on Linux 6.1 and 6.12 only, the guest's kernel is {release}"):
        build.build_module(release)


def test_missing_headers_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CapabilityError, match=r"linux-headers-6\.1\.0-9-none can't be downloaded without apt-get"):
        build.build_module("6.1.0-9-none")


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    (tmp_path / ".kernelvariables").write_text("CC = $(CROSS_COMPILE)gcc-97\n")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "gcc-97" else f"/usr/bin/{name}")
    with pytest.raises(CapabilityError, match="gcc-97 is not here; apt install gcc-97"):
        build._make(tmp_path, tmp_path)


@pytest.mark.guest
@pytest.mark.parametrize("package", ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"])
def test_it_builds_once_for_each_series(package):
    require("guest", shutil.which("apt-get") is not None, "kernel headers come from apt")
    release = image_release(find_kernel(package))
    made = build.build_module(release)
    stamp = made.stat().st_mtime_ns
    assert made.read_bytes()[:4] == b"\x7fELF"
    assert f"vermagic={release} ".encode() in made.read_bytes()
    assert build.build_module(release) == made
    assert made.stat().st_mtime_ns == stamp
