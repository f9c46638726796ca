"""Which applications this machine has; asked of the machine, not of the drivers."""

import importlib.util
import shutil
from pathlib import Path

__all__ = ["module", "postgresql", "program"]


def postgresql():
    return bool(shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


def program(*names):
    return all(shutil.which(name) for name in names)


def module(name):
    return importlib.util.find_spec(name) is not None
