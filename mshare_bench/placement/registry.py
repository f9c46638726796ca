"""Finds placement policies: the modules of `policies/` and `tables/`, and the entry points of other packages.

A policy for process groups and their data is a function that makes an assignment of a problem; a policy for page tables is
one that says where tables go, given who walks them. Each is one file with one decorated function. Entry points are
`mshare_bench.placement_policies` and `mshare_bench.table_policies`; a broken one is a warning with its reason.
"""

import functools
import importlib
import importlib.metadata
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import ConfigError
from mshare_bench.placement.assignment import Assignment
from mshare_bench.placement.problem import MachineKind, Problem

__all__ = [
    "Options",
    "Policy",
    "TableLayout",
    "TablePolicy",
    "Walkers",
    "placement_policy",
    "policies",
    "require_policies",
    "table_policies",
    "table_policy",
]

Options = Mapping[str, Any]
"""A policy's own options, such as `nodes` of `bind`."""

Policy = Callable[[Problem, "TablePolicy", Options], Assignment]
"""Makes an assignment; raises PlacementError, naming what is missing, when it finds no room."""


@dataclass(frozen=True, slots=True)
class Walkers:
    """Who walks some page tables, on one machine.

    Attributes
    ----------
    kind
        The machine.
    toucher
        Index of the node whose process touches first.
    reads
        Walks per second from each node.
    """

    kind: MachineKind
    toucher: int
    reads: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Where tables go: near `prefer` (index of a node), spread evenly, or copied to every node; exactly one is set."""

    prefer: int | None = None
    interleave: bool = False
    replicate: bool = False


TablePolicy = Callable[[Walkers], TableLayout]
"""Says where tables go; asked once when the tables are made, and for common tables again when all walkers are known."""

_F = TypeVar("_F", bound=Callable[..., Any])
_policies: dict[str, Policy] = {}
_tables: dict[str, TablePolicy] = {}


def placement_policy(name: str) -> Callable[[_F], _F]:
    """Register a policy for process groups and their data under a name; ConfigError when the name is taken."""
    return functools.partial(_register, _policies, "placement", name)


def table_policy(name: str) -> Callable[[_F], _F]:
    """Register a policy for page tables under a name; ConfigError when the name is taken."""
    return functools.partial(_register, _tables, "tables", name)


@functools.cache
def policies() -> dict[str, Policy]:
    """Every policy for process groups and their data by name, in order of the names."""
    _load("policies", "mshare_bench.placement_policies")
    return dict(sorted(_policies.items()))


@functools.cache
def table_policies() -> dict[str, TablePolicy]:
    """Every policy for page tables by name, in order of the names."""
    _load("tables", "mshare_bench.table_policies")
    return dict(sorted(_tables.items()))


def require_policies(policy: str, tables: str) -> None:
    """Check that both policies exist; ConfigError, with those that there are, when one does not."""
    for key, value, known in (("placement", policy, policies()), ("placement.tables", tables, table_policies())):
        if value not in known:
            raise ConfigError(f"{key}={value}: there is no such policy; there are {', '.join(known)}")


def _register(registry: dict[str, Any], key: str, name: str, function: _F) -> _F:
    known = registry.get(name)
    if known is not None and known.__module__ != function.__module__:
        raise ConfigError(f"{key}={name}: {function.__module__} and {known.__module__} both register it")
    registry[name] = function
    return function


def _load(folder: str, group: str) -> None:
    package = importlib.import_module(f"mshare_bench.placement.{folder}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for entry in importlib.metadata.entry_points(group=group):
        try:
            entry.load()
        except Exception as error:  # a plug-in may fail in any way; the reason is shown and the rest goes on
            warnings.warn(f"{group} plug-in {entry.name} ({entry.value}) is left out: {error}", stacklevel=3)
