"""Finds mechanisms: the modules of this folder, and the entry points `mshare_bench.mechanisms` of other packages.

A plug-in that can't be loaded is a warning with its reason, never a crash.
"""

import functools
import importlib
import importlib.metadata
import pkgutil
import warnings
from typing import TypeVar

import mshare_bench.mechanisms
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import Mechanism

__all__ = ["mechanism", "mechanisms"]

_M = TypeVar("_M", bound=type[Mechanism])
_registered: dict[str, type[Mechanism]] = {}
_NOT_MECHANISMS = ("contract", "registry")


def mechanism(cls: _M) -> _M:
    """Register a mechanism under its name (class decorator).

    Raises
    ------
    ConfigError
        When the name is taken.
    """
    known = _registered.get(cls.name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(f"mechanism={cls.name}: {cls.__module__} and {known.__module__} both register it")
    _registered[cls.name] = cls
    return cls


@functools.cache
def mechanisms() -> dict[str, type[Mechanism]]:
    """Every mechanism by name, in order of the names."""
    for module in pkgutil.iter_modules(mshare_bench.mechanisms.__path__):
        if module.name not in _NOT_MECHANISMS and not module.name.startswith("_"):
            importlib.import_module(f"{mshare_bench.mechanisms.__name__}.{module.name}")
    for entry in importlib.metadata.entry_points(group="mshare_bench.mechanisms"):
        try:
            entry.load()
        except Exception as error:  # a plug-in may fail in any way; the reason is shown and the rest goes on
            warnings.warn(f"mechanism plug-in {entry.name} ({entry.value}) is left out: {error}", stacklevel=2)
    return dict(sorted(_registered.items()))
