"""Finds workloads: the modules of this folder and of `apps`, and the entry points `mshare_bench.workloads` of other packages.

A plug-in that can't be loaded is a warning with its reason, never a crash.
"""

import functools
import importlib
import importlib.metadata
import pkgutil
import warnings

import mshare_bench.workloads
import mshare_bench.workloads.apps
from mshare_bench.domain.workload import WorkloadSpec
from mshare_bench.errors import ConfigError

__all__ = ["workload", "workloads"]

_registered: dict[str, WorkloadSpec] = {}


def workload(spec: WorkloadSpec) -> WorkloadSpec:
    """Register a workload under its name.

    Raises
    ------
    ConfigError
        When the name is taken.
    """
    known = _registered.get(spec.name)
    if known is not None and known.build.__module__ != spec.build.__module__:
        raise ConfigError(
            f"workload={spec.name}: {spec.build.__module__} and {known.build.__module__} both register it"
        )
    _registered[spec.name] = spec
    return spec


@functools.cache
def workloads() -> dict[str, WorkloadSpec]:
    """Every workload by name, in order of the names."""
    for folder in (mshare_bench.workloads, mshare_bench.workloads.apps):
        for module in pkgutil.iter_modules(folder.__path__):
            if module.name not in ("registry", "apps") and not module.name.startswith("_"):
                importlib.import_module(f"{folder.__name__}.{module.name}")
    for entry in importlib.metadata.entry_points(group="mshare_bench.workloads"):
        try:
            entry.load()
        except Exception as error:  # a plug-in may fail in any way; the reason is shown and the rest goes on
            warnings.warn(f"workload plug-in {entry.name} ({entry.value}) is left out: {error}", stacklevel=2)
    return dict(sorted(_registered.items()))
