"""What a knob is: a kernel file with a value that can be read, written, and checked by reading it back.

Two layouts occur: a plain number (``nr_hugepages``, KSM), and a list of choices with the current one in brackets
(``always [madvise] never``). Reading gives the bare value in both.

Writing is checked by reading back, since the kernel takes some values and does less: ``nr_hugepages`` grows only as far
as it finds contiguous memory.
"""

import errno
import importlib
import os
import pkgutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import keyed_kib, read_file

__all__ = ["Knob", "More", "knobs", "register"]

_REGISTRY: dict[str, "Knob | Callable[[], Iterable[Knob]]"] = {}

# A pool that is grown needs memory to be compacted: another try may find more. One that is shrunk waits for pages that
# are just being given back by processes that ended.
_PAUSE_S = 0.05
_IDLE_TRIES_GROWING = 2
_IDLE_TRIES_SHRINKING = 40


@dataclass(frozen=True, slots=True)
class More:
    """A value relative to the one that a knob has: so many more."""

    count: int


@dataclass(frozen=True, slots=True)
class Knob:
    """
    One kernel setting.

    Attributes
    ----------
    name : str
        Unique name for messages and the journal.
    path : Path
        The kernel's file.
    unit_bytes : int
        For an amount of memory that the kernel has to find (hugepages): bytes of one unit. A write may be met in part,
        and one that would take all the machine's memory is refused. 0 for a plain setting.
    """

    name: str
    path: Path
    unit_bytes: int = 0

    def available(self) -> str | None:
        """Say why this user can't set the knob here; None when it can be set."""
        if not self.path.exists():
            return f"this kernel has no {self.path}"
        if not os.access(self.path, os.W_OK):
            return f"{self.path} is not writable for this user (root is needed)"
        return None

    def read(self) -> str:
        """
        Read the current value.

        Raises
        ------
        CapabilityError
            When the kernel has no such knob or it can't be read.
        """
        try:
            text = self.path.read_text().strip()
        except OSError as error:
            raise CapabilityError(f"{self.name}: cannot read {self.path}: {error.strerror}") from error
        opened = text.find("[")
        return text if opened < 0 else text[opened + 1 : text.index("]", opened)]

    def write(self, value: str) -> None:
        """
        Set the knob and read it back.

        Raises
        ------
        CapabilityError
            When the kernel refuses, or holds another value afterwards: names what was asked and what was got.
        """
        before = self.read()
        if before == value:
            return
        self._check_memory(before, value)
        idle_tries = 0
        if self.unit_bytes:
            idle_tries = _IDLE_TRIES_GROWING if int(value) > int(before) else _IDLE_TRIES_SHRINKING
        got = before
        while True:
            try:
                self.path.write_text(value)
            except OSError as error:
                takes = "; it takes root" if error.errno in (errno.EACCES, errno.EPERM) else ""
                raise CapabilityError(
                    f"{self.name}={value}: cannot write {self.path}: {error.strerror}{takes}"
                ) from error
            last, got = got, self.read()
            if got == value:
                return
            if got == last:
                idle_tries -= 1
            if idle_tries < 0 or not self.unit_bytes:
                raise CapabilityError(f"{self.name}: asked for {value}, got {got}")
            time.sleep(_PAUSE_S)

    def _check_memory(self, before: str, value: str) -> None:
        # The kernel would take a pool of any size literally and drive everybody else out of memory for it.
        wanted = (int(value) - int(before)) * self.unit_bytes if self.unit_bytes else 0
        if wanted <= 0:
            return
        available = keyed_kib(read_file("/proc/meminfo") or b"", b"MemAvailable")
        if available is not None and wanted > available:
            raise CapabilityError(
                f"{self.name}: asked for {value}, which takes {wanted} bytes more; only {available} are available"
            )

    def target(self, value: "str | int | More") -> str:
        """
        Work out the value to write.

        Raises
        ------
        CapabilityError
            When `value` is relative and the knob can't be read.
        """
        return str(int(self.read()) + value.count) if isinstance(value, More) else str(value)


def register(name: str, knob: "Knob | Callable[[], Iterable[Knob]]") -> None:
    """
    Put a knob on the list, or a function that gives several (one per hugepage size, say).

    Raises
    ------
    ValueError
        When the name is taken.
    """
    if name in _REGISTRY:
        raise ValueError(f"knob {name!r} is registered twice")
    _REGISTRY[name] = knob


def knobs() -> Mapping[str, Knob]:
    """Give every knob of this machine's kernel by name; a read-only view."""
    package = importlib.import_module(__package__ or "mshare_bench.real.knobs")
    for module in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(f"{package.__name__}.{module.name}")
        except (ImportError, ValueError, SyntaxError) as error:
            warnings.warn(f"knob module {module.name} left out: {error}", RuntimeWarning, stacklevel=2)
    found: dict[str, Knob] = {}
    for entry in _REGISTRY.values():
        for knob in (entry,) if isinstance(entry, Knob) else entry():
            found[knob.name] = knob
    return MappingProxyType(dict(sorted(found.items())))
