"""The guest's kernel: an image that the user names, or Debian's cloud kernel, downloaded and unpacked, never installed."""

import hashlib
import re
import shutil
from pathlib import Path

from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.real.guest.debian import cache_folder, dependencies, matching, unpacked

__all__ = ["DEBIAN", "find_kernel", "image_release", "kernel_identity", "kernel_source"]

DEBIAN = "cloud-amd64"
"""Stands for the newest of Debian's cloud kernels that apt knows."""

_HEADER_AT, _HEADER = 0x202, b"HdrS"
_VERSION_AT = 0x20E
_HELP = "name an image with guest.kernel=PATH"


def find_kernel(named: str | None = None) -> Path:
    """Find the kernel image to boot.

    Parameters
    ----------
    named
        Path of an image (a bzImage), or name of a Debian package of a kernel, a metapackage as well; None for `DEBIAN`.

    Raises
    ------
    ConfigError
        When the named image does not exist or is none.
    CapabilityError
        When Debian's kernel can't be had here, with what to do.
    """
    if named is None or _is_package(named):
        return _debian(named or DEBIAN)
    path = Path(named).expanduser()
    image_release(path)
    return path


def kernel_identity(named: str | None) -> str:
    """What tells one kernel from another before any is booted: a package's name, or a digest of the image that was named.

    Raises
    ------
    ConfigError
        When the named image does not exist or is none.
    """
    if named is None or _is_package(named):
        return named or DEBIAN
    path = Path(named).expanduser()
    image_release(path)
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def kernel_source() -> str | None:
    """Where a guest's kernel comes from unless one is named: downloaded before, or at first use; None for nowhere."""
    kept = _kept(DEBIAN)
    if kept is not None:
        return f"{kept}, unpacked in {cache_folder(make=False)}"
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        return "Debian's newest cloud kernel, downloaded and unpacked at first use"
    return None


def image_release(path: Path) -> str:
    """Release of a kernel image, as `uname -r` will say it.

    Source: Documentation/arch/x86/boot.rst of Linux, fields `header` and `kernel_version`.

    Raises
    ------
    ConfigError
        When it can't be read or is no x86 kernel image.
    """
    try:
        with open(path, "rb") as image:
            setup = image.read(0x8000)
    except OSError as error:
        raise ConfigError(f"guest.kernel={path}: {error.strerror}") from error
    if setup[_HEADER_AT : _HEADER_AT + 4] != _HEADER:
        raise ConfigError(f"guest.kernel={path}: not an x86 kernel image (arch/x86/boot/bzImage of a build)")
    at = int.from_bytes(setup[_VERSION_AT : _VERSION_AT + 2], "little") + 0x200
    return setup[at : setup.index(b"\0", at)].decode("ascii", "replace").partition(" ")[0]


def _is_package(named: str) -> bool:
    return re.fullmatch(r"linux-image-[a-z0-9.+-]+", named) is not None


def _debian(package: str) -> Path:
    """The newest kernel that a Debian package stands for, from the cache or downloaded."""
    concrete = _concrete(package) or _kept(package)
    if concrete is None:
        raise CapabilityError(f"host=guest: apt knows no {package} (run apt-get update); or {_HELP}")
    try:
        images = sorted((unpacked([concrete]) / "boot").glob("vmlinuz-*"))
    except CapabilityError as error:
        raise CapabilityError(f"host=guest: {error}; or {_HELP}") from error
    if not images:
        raise CapabilityError(f"host=guest: {concrete} holds no kernel image; {_HELP}")
    _note(package).write_text(concrete)
    return images[-1]


def _note(package: str) -> Path:
    return cache_folder(make=False) / f"{package}.newest"


def _kept(package: str) -> str | None:
    """What this package stood for when it was last asked for; what is there without apt."""
    return _note(package).read_text() if _note(package).exists() else None


def _newest() -> str | None:
    """The package of the newest cloud kernel; each version of it has a package of its own name."""
    names = matching("^linux-image-[0-9].*-cloud-amd64$")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"[0-9]+", name)], default=None)


def _concrete(package: str) -> str | None:
    """Follow a metapackage to the package that holds an image; the package itself where it is no metapackage."""
    if package == DEBIAN:
        return _newest()
    needed = dependencies(package)
    if needed is None:
        return None
    return next((one for one in needed if one.startswith("linux-image-")), package)
