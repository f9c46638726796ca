"""What a counter is, and the list of those that there are: a new kernel counter is one new file in this folder.

A counter is a value with a name, a unit, a scope and two functions. A module makes one and registers it::

    register(Counter("page_tables", "byte", "system", "page-table pages of the whole machine", unavailable, total))

:func:`counters` imports every module of this folder and gives them all. A module that cannot be imported is a warning
with its reason; the others stay usable.

Scope ``process`` sums over the pids that are given, scope ``system`` looks at the whole machine and ignores them. A
reading is an instant; what happened in between is the difference of two readings, which the caller takes. Counters that
must be *opened* before the thing that they count (hardware events) are not readings: see :mod:`.perf`.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["Counter", "Scope", "counters", "register"]

Scope = Literal["process", "system"]

_REGISTRY: dict[str, "Counter"] = {}
_imported = False


@dataclass(frozen=True, slots=True)
class Counter:
    """
    One kernel counter.

    Attributes
    ----------
    name : str
        Unique name, in lower case with underscores.
    unit : str
        ``byte``, ``page``, ``fault``, ``event``, ``item``, ``1``.
    scope : {"process", "system"}
        Whether ``read`` sums over the pids or looks at the machine.
    description : str
        One line: what is counted.
    available : callable
        Returns None when the counter can be read here, else the reason why not.
    read : callable
        ``read(pids) -> int | None``; None is "could not be read", never a zero.
    """

    name: str
    unit: str
    scope: Scope
    description: str
    available: Callable[[], str | None]
    read: Callable[[Sequence[int]], int | None]


def register(counter: Counter) -> Counter:
    """
    Put a counter on the list.

    Raises
    ------
    ValueError
        When another counter has the name already: two files would fight for it.
    """
    if counter.name in _REGISTRY:
        raise ValueError(f"counter {counter.name!r} is registered twice")
    _REGISTRY[counter.name] = counter
    return counter


def counters() -> Mapping[str, Counter]:
    """Give every counter of this package by name, in the order of the names; a read-only view."""
    global _imported
    if not _imported:
        package = importlib.import_module(__package__ or "mshare_bench.real.counters")
        for module in pkgutil.iter_modules(package.__path__):
            try:
                importlib.import_module(f"{package.__name__}.{module.name}")
            except (ImportError, ValueError, SyntaxError) as error:
                warnings.warn(f"counter module {module.name} left out: {error}", RuntimeWarning, stacklevel=2)
        _imported = True
    return MappingProxyType(dict(sorted(_REGISTRY.items())))
