"""Finds the agent's binary, compiling it once per user where the package was installed without one."""

__all__ = ["agent_path", "cache_folder"]

import functools
import os
import platform
import stat
import sys
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent import build

_HINT = "only engine=sim is available; for engine=real install a C compiler (gcc or clang) or mshare-bench[compiler]"


def cache_folder() -> Path:
    """Where the binary is kept that was compiled on first use: ``$XDG_CACHE_HOME/mshare-bench/agent``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mshare-bench" / "agent"


def _is_private(path: Path) -> bool:
    """Whether nobody but its owner (this user, or root) can have written the file."""
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def agent_path() -> Path:
    """Path of an agent binary that belongs to these sources.

    Raises
    ------
    CapabilityError
        If there is none and it can't be compiled here; the message says why and how to get it.
    """
    if sys.platform != "linux":
        raise CapabilityError(f"the agent runs on Linux, not on {platform.system()}; only engine=sim is available")
    prebuilt = build.prebuilt_path()
    if os.access(prebuilt, os.X_OK):
        return prebuilt
    folder = cache_folder()
    cached = folder / build.binary_name()
    if os.access(cached, os.X_OK) and _is_private(cached) and _is_private(folder):
        return cached
    try:
        built, failures = build.build_agent(folder)
    except OSError as error:
        raise CapabilityError(f"the agent can't be compiled into {folder}: {error.strerror}; {_HINT}") from error
    if built is None:
        reason = "; ".join(failures) if failures else "no C compiler was found"
        raise CapabilityError(f"the agent is not compiled ({reason}); {_HINT}")
    return built
