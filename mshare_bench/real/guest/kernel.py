"""The guest's kernel: an image that the user names, or Debian's cloud kernel, downloaded and unpacked, never installed."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from mshare_bench.errors import CapabilityError, ConfigError

__all__ = ["DEBIAN", "cache_folder", "find_kernel", "image_release", "kernel_identity"]

DEBIAN = "linux-image-cloud-amd64"
"""Debian's metapackage of the stable cloud kernel; `linux-image-6.12-cloud-amd64` is that of a newer series."""

_HEADER_AT, _HEADER = 0x202, b"HdrS"
_VERSION_AT = 0x20E
_SECONDS = 300
_HELP = "name an image with guest.kernel=PATH"


def cache_folder() -> Path:
    """Where downloaded kernels are kept: ``$XDG_CACHE_HOME/mshare-bench/guest``, for this user only."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mshare-bench" / "guest"


def find_kernel(named: str | None = None) -> Path:
    """Find the kernel image to boot.

    Parameters
    ----------
    named
        Path of an image (a bzImage), or name of a Debian package of a kernel; None for `DEBIAN`.

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
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        kept = _kept(package)
        if kept is not None:
            return kept
        raise CapabilityError(f"host=guest: {package} can't be downloaded without apt-get and dpkg-deb; {_HELP}")
    concrete = _concrete(package)
    if concrete is None:
        kept = _kept(package)
        if kept is not None:
            return kept
        raise CapabilityError(f"host=guest: apt knows no {package} (run apt-get update); or {_HELP}")
    folder = cache_folder() / concrete
    images = sorted(folder.glob("vmlinuz-*"))
    if not images:
        _download(concrete, folder)
        images = sorted(folder.glob("vmlinuz-*"))
    if not images:
        raise CapabilityError(f"host=guest: {concrete} holds no kernel image; {_HELP}")
    (cache_folder() / f"{package}.newest").write_text(concrete)
    return images[-1]


def _kept(package: str) -> Path | None:
    """What this package stood for when it was last asked for."""
    note = cache_folder() / f"{package}.newest"
    images = sorted((cache_folder() / note.read_text()).glob("vmlinuz-*")) if note.exists() else []
    return images[-1] if images else None


def _concrete(package: str) -> str | None:
    """Follow a metapackage to the package that holds an image; the package itself where it is no metapackage."""
    done = _command(["apt-cache", "depends", "--important", package])
    if done.returncode:
        return None
    named = re.findall(r"^\s*\|?Depends: (linux-image-\S+)", done.stdout, re.MULTILINE)
    return named[0] if named else package


def _download(package: str, folder: Path) -> None:
    cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".download-") as scratch:
        done = _command(["apt-get", "--quiet", "download", package], scratch)
        archives = sorted(Path(scratch).glob("*.deb"))
        if done.returncode or not archives:
            said = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            raise CapabilityError(f"host=guest: {package} could not be downloaded ({said}); {_HELP}")
        unpacked = Path(scratch) / "unpacked"
        done = _command(["dpkg-deb", "-x", str(archives[-1]), str(unpacked)])
        if done.returncode:
            raise CapabilityError(f"host=guest: {package} could not be unpacked: {done.stderr.strip()}")
        made = Path(scratch) / "image"
        made.mkdir()
        for image in sorted((unpacked / "boot").glob("vmlinuz-*")):
            shutil.move(image, made / image.name)
        if not folder.exists():  # another process may have been quicker
            made.rename(folder)


def _command(words: list[str], folder: str | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            words,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
