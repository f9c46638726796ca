"""Builds the module for a guest's kernel against Debian's headers packages, downloaded and unpacked, never installed."""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.guest.debian import cache_folder, dependencies, unpacked

__all__ = ["MODULE", "SERIES", "build_module"]

MODULE = "mshare_pte"

SERIES = ("6.1", "6.12")
"""Kernels on which every path that frees page tables was followed; the module itself refuses others too."""

_SOURCES = ("Kbuild", "device.c", "internal.h", "mshare_pte.h", "region.c", "sharer.c")
_SECONDS = 300


def build_module(release: str) -> Path:
    """Build the module for a kernel, once.

    Parameters
    ----------
    release
        As `uname -r` says it: `6.1.0-56-cloud-amd64`.

    Returns
    -------
    pathlib.Path
        The `.ko` file, in the cache.

    Raises
    ------
    CapabilityError
        For a kernel that is not on the list, or when headers, make or the compiler are missing; the message says what to install.
    """
    series = ".".join(release.split(".")[:2])
    if series not in SERIES:
        raise CapabilityError(f"{_KEY}: tried on Linux {' and '.join(SERIES)} only, the guest's kernel is {release}")
    own = Path(__file__).parent
    content = b"".join((own / name).read_bytes() for name in _SOURCES)
    kept = cache_folder() / f"{MODULE}-{release}-{hashlib.blake2b(content, digest_size=8).hexdigest()}.ko"
    if not kept.exists():
        headers = _headers(release)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".build-") as scratch:
            for name in _SOURCES:
                shutil.copy(own / name, scratch)
            _make(headers, Path(scratch))
            (Path(scratch) / f"{MODULE}.ko").rename(kept)
    return kept


_KEY = "mechanism.interface=module"


def _headers(release: str) -> Path:
    """The folder that modules for a kernel are built from, its packages unpacked side by side."""
    package = f"linux-headers-{release}"
    wanted = [
        package,
        *(one for one in dependencies(package) or [] if re.match(r"linux-(headers-.*-common|kbuild-)", one)),
    ]
    try:
        root = unpacked(wanted)
    except CapabilityError as error:
        raise CapabilityError(f"{_KEY}: {error}; the module is built against {package}") from error
    folder = root / "usr" / "src" / package
    makefile = folder / "Makefile"
    # Debian's names its other half by the place where it would have been installed.
    makefile.write_text(re.sub(r"^include .*/usr/src/", f"include {root}/usr/src/", makefile.read_text(), flags=re.M))
    return folder


def _make(headers: Path, folder: Path) -> None:
    compiler = re.search(r"gcc-\d+", (headers / ".kernelvariables").read_text())
    needed = {"make": "make", **({compiler[0]: compiler[0]} if compiler else {"gcc": "gcc"})}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing:
        raise CapabilityError(f"{_KEY}: {' and '.join(missing)} is not here; apt install {' '.join(missing)}")
    # Type information would need another program, and nothing here reads it.
    words = ["make", "-s", "-C", str(headers), f"M={folder}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise CapabilityError(f"{_KEY}: the module could not be built ({said[-1] if said else 'make failed'})")
