"""Debian's packages as a source of files: asked for by name, downloaded and unpacked into a cache, never installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mshare_bench.errors import CapabilityError

__all__ = ["cache_folder", "dependencies", "matching", "unpacked"]

_SECONDS = 300


def cache_folder(make: bool = True) -> Path:
    """Where downloads and builds are kept: ``$XDG_CACHE_HOME/mshare-bench/guest``, for this user only; made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "mshare-bench" / "guest"
    if make:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def dependencies(package: str) -> list[str] | None:
    """Names of the packages that a package depends on; None where apt does not know it, or is not here."""
    done = _command(["apt-cache", "depends", "--important", package])
    if done.returncode:
        return None
    return re.findall(r"^\s*\|?Depends: (\S+)", done.stdout, re.MULTILINE)


def matching(pattern: str) -> list[str]:
    """Names of the packages that apt knows and a regular expression matches; none where apt is not here."""
    done = _command(["apt-cache", "search", "--names-only", pattern])
    return [line.partition(" ")[0] for line in done.stdout.splitlines()]


def unpacked(packages: Sequence[str]) -> Path:
    """Return the folder that holds the files of some packages, under their own paths; downloaded at the first time.

    Raises
    ------
    CapabilityError
        When they can't be had here, with the reason.
    """
    folder = cache_folder() / "unpacked" / packages[0]
    if folder.exists():
        return folder
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise CapabilityError(f"{packages[0]} can't be downloaded without {program}")
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".download-") as scratch:
        done = _command(["apt-get", "--quiet", "download", *packages], scratch)
        archives = sorted(Path(scratch).glob("*.deb"))
        if done.returncode or len(archives) < len(packages):
            said = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            raise CapabilityError(f"{packages[0]} could not be downloaded ({said}; apt-get update may help)")
        files = Path(scratch) / "files"
        for archive in archives:
            done = _command(["dpkg-deb", "-x", str(archive), str(files)])
            if done.returncode:
                raise CapabilityError(f"{archive.name} could not be unpacked: {done.stderr.strip()}")
        folder.parent.mkdir(exist_ok=True)
        if not folder.exists():  # another process may have been quicker
            files.rename(folder)
    return folder


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
